import pytest

from clisc_nnunet.provenance import (
    NOT_RECORDED,
    Difference,
    differences,
    found_and_expected,
    in_short,
    restricted,
)


@pytest.mark.parametrize("record", [None, 3, [], {"zoom": (0.8, 1.3), "net": [{"depth": 3}]}])
def test_equal_records_differ_in_nothing(record):
    assert differences(record, record) == []
    assert found_and_expected([]) == ("", "")


def test_tuples_equal_lists():
    assert differences({"zoom": [0.8, 1.3]}, {"zoom": (0.8, 1.3)}) == []


def test_the_innermost_values_are_named():
    before = {"old": None, "net": [{"depth": 3, "width": 8}, "x"], "views": ["a", "b"]}
    now = {"views": ["a", "c"], "net": [{"depth": 4, "width": 8}, "x"], "new": {"a": 2}}
    assert differences(before, now) == [
        Difference("views", ["a", "b"], ["a", "c"]),
        Difference("net.depth", 3, 4),
        Difference("new", NOT_RECORDED, {"a": 2}),
        Difference("old", None, NOT_RECORDED),
    ]


def test_values_themselves_may_differ():
    assert differences(1, {"a": 1}) == [Difference("", 1, {"a": 1})]
    assert differences([{"a": 1}], []) == [Difference("", [{"a": 1}], [])]


def test_messages_name_both_sides():
    found = differences({"seed": 0, "rate": 0.1, "old": None}, {"seed": 1, "rate": 0.1, "new": 2})
    assert found_and_expected(found) == (
        "seed 0, new not recorded, old null",
        "seed 1, new 2, old not recorded",
    )


def test_messages_stay_short():
    one, other = ({f"{k}.nii.gz": f"{n}" * 8 for k in range(30)} for n in (1, 2))
    before, now = found_and_expected(differences({"anatomies": one}, {"anatomies": other}))
    assert before.startswith('anatomies.0.nii.gz "11111111", ')
    assert before.endswith(" and 27 more") and now.endswith(" and 27 more")
    assert in_short(one) == "with 30 entries"


def test_what_was_not_asked_for_does_not_count():
    assert restricted({"seed": 0, "cases": []}, {"seed": 1, "new": 2}) == {"seed": 0}
