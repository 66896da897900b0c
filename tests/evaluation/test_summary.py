import math
from dataclasses import replace

import numpy as np
import pytest
from helpers.evaluated import ONE

from clisc_nnunet.evaluation.summary import (
    by_dice,
    empty_cases,
    representative_cases,
    summarise,
    sums,
)

NAN = math.nan

MISSED = replace(ONE, case="b", dice=0.0, hd95_mm=NAN, precision=NAN, recall=0.0, predicted_ml=0.0)
HEALTHY = replace(ONE, case="c", dice=NAN, hd95_mm=NAN, predicted_ml=0.0, reference_ml=0.0)
FALSE = replace(ONE, case="d", dice=0.0, hd95_mm=NAN, recall=NAN, reference_ml=0.0)
ALL = [ONE, MISSED, HEALTHY, FALSE]


def test_what_is_undefined_is_counted_and_in_no_mean():
    found = {s.measure: s for s in summarise(ALL, 0)}
    dice, hd95 = found["dice"], found["hd95_mm"]
    assert (dice.cases, dice.undefined, dice.mean) == (3, 1, pytest.approx(0.3))
    assert (hd95.cases, hd95.undefined, hd95.mean) == (1, 3, 2.0)
    assert math.isnan(hd95.sd)
    assert dice.smallest <= dice.low <= dice.mean <= dice.high <= dice.largest


def test_a_measure_that_is_nowhere_defined():
    (hd95,) = (s for s in summarise([MISSED], 0) if s.measure == "hd95_mm")
    assert (hd95.cases, hd95.undefined) == (0, 1)
    assert np.isnan([hd95.mean, hd95.low, hd95.median, hd95.largest]).all()


def test_sums_of_lesions():
    assert sums(ALL)["lesions"] == 8


def test_empty_masks_by_side():
    found = empty_cases(ALL)
    assert (found.both, found.prediction, found.reference) == (("c",), ("b",), ("d",))
    assert found.one_sided == 2


def test_worst_first_undefined_last():
    assert [s.case for s in by_dice(ALL)] == ["b", "d", "a", "c"]


def test_best_median_and_worst():
    cases = [replace(ONE, case=str(n), dice=n / 10) for n in range(4)]
    assert {k: s.case for k, s in representative_cases(cases).items()} == {
        "best": "3",
        "median": "1",
        "worst": "0",
    }
    assert [s.case for s in representative_cases(cases[:1]).values()] == ["0"]
    assert representative_cases([HEALTHY]) == {}
