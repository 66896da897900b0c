import math

import pytest

from benchmarks.compare import paired
from benchmarks.comparison_tables import difference_cells, mean_cell, mean_over_seeds


def test_seeds_are_averaged_by_case():
    found = mean_over_seeds([{"a": 0.5, "b": 0.7}, {"a": 0.7, "b": 0.9}])
    assert found == {"a": pytest.approx(0.6), "b": pytest.approx(0.8)}


def test_a_mean_has_its_interval_in_the_digits_of_its_measure():
    assert mean_cell("dice", {"a": 0.5, "b": 0.7}) == "0.600 (0.500 to 0.700)"
    assert mean_cell("hd95_mm", {"a": 5.0, "b": 7.0}) == "6.00 (5.00 to 7.00)"
    assert mean_cell("dice", {"a": 0.5}) == "0.500"


def test_undefined_scores_are_counted():
    assert mean_cell("hd95_mm", {"a": 5.0, "b": math.nan}) == "5.00; 1 undefined"
    assert mean_cell("hd95_mm", {"a": math.nan}) == "–"
    assert mean_cell("hd95_mm", {}) == "–"


def test_differences_are_signed():
    found = paired({"a": 0.5, "b": 0.5}, {"a": 0.7, "b": 0.4}, lower_is_better=False)
    assert difference_cells("dice", found) == {
        "difference": "+0.050",
        "95 % interval": "-0.100 to +0.200",
        "worst case": "-0.100 (b)",
    }
    one = difference_cells("dice", paired({"a": 0.5}, {"a": 0.5}, lower_is_better=False))
    assert one["difference"] == "+0.000" and one["95 % interval"] == ""
    none = difference_cells("dice", paired({}, {}, lower_is_better=False))
    assert set(none.values()) == {""}
