import numpy as np
import pytest

from clisc_nnunet.quality_control.prompt_separation import (
    ScoredSlices,
    advice,
    check_prompts,
    extreme_slices,
    table,
)
from clisc_nnunet.settings import LabelSettings

LOW, HIGH, MIDDLE = 0.1, 0.9, 0.5


def scored(*probability):
    return ScoredSlices(1.5 * np.arange(len(probability)), np.array(probability))


def checked(**cases):
    return check_prompts("mine", cases, LabelSettings())


def tumour_in_the_middle(n=20):
    return scored(*[LOW] * n, *[HIGH] * n, *[LOW] * n)


def test_shares_are_those_of_the_sure_labels():
    check = checked(a=scored(LOW, LOW, HIGH, MIDDLE), b=scored(0.6, 0.4, 0.59, 0.41))
    assert check.slices == 8
    assert (check.tumour, check.normal, check.unsure) == (2 / 8, 3 / 8, 3 / 8)


def test_changes_count_sure_neighbours_of_one_case_alone():
    # Within a: one change of two pairs; unsure ones and the step from a to b do not count.
    check = checked(a=scored(LOW, LOW, HIGH, MIDDLE, LOW), b=scored(HIGH, HIGH))
    assert check.changes == pytest.approx(1 / 3)
    assert np.isnan(checked(a=scored(MIDDLE, HIGH)).changes)


def test_cases_without_a_kind_are_named():
    check = checked(a=scored(LOW, LOW), b=scored(LOW, HIGH), c=scored(HIGH, MIDDLE))
    assert check.without_tumour == ("a",)
    assert check.without_normal == ("c",)


def test_nothing_to_check_is_an_error():
    with pytest.raises(ValueError, match="no slice"):
        checked(a=scored())


@pytest.mark.parametrize(
    ("cases", "line"),
    [
        ({"a": scored(*[MIDDLE] * 8, LOW, HIGH)}, "prompts hardly separate slices: 80% are unsure"),
        ({"a": scored(*[HIGH] * 100)}, "prompts see tumour everywhere: 100% tumour, 0% normal"),
        ({"a": scored(*[LOW] * 100)}, "prompts see normal everywhere"),
        ({"a": scored(*[LOW, HIGH] * 20)}, "labels alternate: 100% of neighbouring slices differ"),
        (
            {"a": tumour_in_the_middle(), "b": scored(*[LOW] * 9)},
            "prompts separate slices, but not in b: no slice",
        ),
        ({"a": tumour_in_the_middle()}, "prompts separate slices; check"),
    ],
)
def test_advice_names_the_gravest_fault(cases, line):
    assert advice(checked(**cases)).startswith(line)


def test_a_long_list_of_cases_is_cut():
    healthy = {name: scored(*[LOW] * 9) for name in "bcdefgh"}
    assert "not in b, c, d, e, f and 2 more:" in advice(
        checked(a=tumour_in_the_middle(), **healthy)
    )


def test_table_has_a_line_and_advice_for_each_set():
    one, two = checked(a=tumour_in_the_middle()), checked(a=scored(MIDDLE, MIDDLE))
    lines = table([one, two]).splitlines()
    assert lines[1].split() == ["mine", "60", "33%", "67%", "0%", "3%", "1", "of", "1"]
    assert lines[2].split()[4:6] == ["100%", "-"]
    assert lines[-1].startswith("mine: prompts hardly separate")


def test_extremes_are_in_order_and_from_every_case():
    rising = np.linspace(0, 1, 40)
    check = checked(a=scored(*rising), b=scored(*rising[::-1] / 2))
    most = extreme_slices(check, 4, most=True)
    values = [check.cases[case].probability[index] for case, index in most]
    assert values == sorted(values, reverse=True)
    assert [case for case, _ in most] == ["a", "a", "b", "b"]
    assert most[0] == ("a", 39) and most[1] == ("a", 35)
    least = extreme_slices(check, 2, most=False)
    assert least == [("a", 0), ("b", 39)]


def test_a_case_of_few_slices_gives_what_it_has():
    check = checked(a=scored(LOW), b=scored(HIGH))
    assert extreme_slices(check, 8, most=True) == [("b", 0), ("a", 0)]
