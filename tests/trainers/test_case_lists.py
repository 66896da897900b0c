import shutil

import pytest

from clisc_nnunet.errors import UserError
from clisc_nnunet.trainers.case_lists import CaseLists, find_case_lists, read_case_lists

CASES = ["a", "b", "c"]


def test_lists_may_be_absent(tmp_path):
    assert read_case_lists(tmp_path / "nowhere", CASES) == CaseLists()


def test_one_case_a_line_with_remarks_and_blank_lines(tmp_path):
    (tmp_path / "trusted.txt").write_text(
        "\ufeffa\r\n\r\n# all of these by hand\r\n c  # again\r\n"
    )
    (tmp_path / "exclude.txt").write_text("b")
    lists = read_case_lists(tmp_path, CASES)
    assert lists == CaseLists(frozenset("ac"), frozenset("b"))


@pytest.mark.parametrize(
    ("trusted", "exclude", "message"),
    [
        ("a\nd\n", "", "trusted.txt.*'d'.*names of cases"),
        ("a", "a", "exclude.txt.*a, which is also in trusted.txt"),
        ("", "a\nb\nc", "exclude.txt.*all cases"),
    ],
)
def test_mistakes_are_reported(tmp_path, trusted, exclude, message):
    (tmp_path / "trusted.txt").write_text(trusted)
    (tmp_path / "exclude.txt").write_text(exclude)
    with pytest.raises(UserError, match=message):
        read_case_lists(tmp_path, CASES)


def test_phantoms_are_no_cases_left_to_train_on(tmp_path):
    (tmp_path / "exclude.txt").write_text("a\nb\n")
    with pytest.raises(UserError, match="all cases"):
        read_case_lists(tmp_path, CASES, phantoms=["c"])


def test_cases_that_got_no_label_this_time_may_stay_in_a_list(tmp_path):
    (tmp_path / "exclude.txt").write_text("d\nb\n")
    (tmp_path / "cases.csv").write_text("case,status\na,labelled\nd,empty\n")
    assert read_case_lists(tmp_path, CASES).excluded == {"b"}


def test_a_list_that_is_no_text_is_reported(tmp_path):
    (tmp_path / "trusted.txt").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(UserError, match="a text file"):
        read_case_lists(tmp_path, CASES)


def test_a_dataset_without_cases_is_not_the_lists_fault(tmp_path):
    assert read_case_lists(tmp_path, []) == CaseLists()


def test_a_name_is_whole_and_has_its_own_case(tmp_path):
    (tmp_path / "trusted.txt").write_text("scan.1\n")
    assert read_case_lists(tmp_path, ["scan.1", "scan.10"]).trusted == {"scan.1"}
    for names in (["scan.10"], ["SCAN.1"]):
        with pytest.raises(UserError, match=r"trusted.txt.*'scan.1'"):
            read_case_lists(tmp_path, names)


def test_all_but_one_may_be_left_out_and_all_trusted(tmp_path):
    (tmp_path / "exclude.txt").write_text("a\nb\n")
    assert read_case_lists(tmp_path, CASES).excluded == {"a", "b"}
    (tmp_path / "exclude.txt").unlink()
    (tmp_path / "trusted.txt").write_text("a\nb\nc\nc\n")
    assert read_case_lists(tmp_path, CASES).trusted == set(CASES)


@pytest.fixture
def folders(tmp_path):
    """`clisc` of a raw dataset that excludes `a`, and a copy that excludes `b`."""
    paths = tmp_path / "raw" / "clisc", tmp_path / "preprocessed" / "clisc"
    for path, case in zip(paths, "ab", strict=True):
        path.mkdir(parents=True)
        (path / "exclude.txt").write_text(case)
    return paths


def test_lists_of_the_raw_dataset_come_before_their_copies(folders):
    raw, copies = folders
    found = find_case_lists(raw, copies, CASES, True)
    assert found.excluded == {"a"} and not found.remark
    for elsewhere in (None, raw.parent.parent / "another" / "clisc"):
        found = find_case_lists(elsewhere, copies, CASES, True)
        assert found.excluded == {"b"} and f"copies in {copies}" in found.remark


def test_a_raw_dataset_without_lists_has_none(folders):
    raw, copies = folders
    shutil.rmtree(raw)
    assert find_case_lists(raw, copies, CASES, True) == CaseLists()


def test_without_lists_and_copies_nothing_is_assumed(tmp_path):
    nowhere = tmp_path / "raw" / "clisc"
    with pytest.raises(UserError, match=r"nnUNet_raw: found a variable.*copy its clisc/\*\.txt to"):
        find_case_lists(None, tmp_path / "clisc", CASES, True)
    with pytest.raises(UserError, match="raw: found no such folder"):
        find_case_lists(nowhere, tmp_path / "clisc", CASES, True)
    assert find_case_lists(nowhere, tmp_path / "clisc", CASES, False) == CaseLists()


def test_the_lists_count_after_a_round():
    lists = CaseLists(frozenset("bd"), frozenset("a"))
    assert lists.to_learn(["c", "a", "b"], {"a", "b", "c", "d", "e"}) == ["c", "b", "d"]
    assert lists.to_learn(["c"], {"c"}) == ["c"]  # b and d belong to the validation
