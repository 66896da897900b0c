import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clisc_nnunet.metrics import dice, iou, precision, sensitivity

# Two bars of 4 and 6 pixels that share 3.
PREDICTION = np.array([[1, 1, 1, 1, 0, 0, 0, 0]], bool)
REFERENCE = np.array([[0, 1, 1, 1, 1, 1, 1, 0]], bool)
EMPTY = np.zeros((1, 8), bool)
masks = arrays(bool, (2, 3, 4), elements=st.booleans())


def test_known_answers():
    assert dice(PREDICTION, REFERENCE) == 2 * 3 / 10
    assert iou(PREDICTION, REFERENCE) == 3 / 7
    assert precision(PREDICTION, REFERENCE) == 3 / 4
    assert sensitivity(PREDICTION, REFERENCE) == 3 / 6


def test_one_empty_mask_scores_nothing():
    for score in (dice, iou):
        assert score(EMPTY, REFERENCE, both_empty=1.0) == 0.0
        assert score(PREDICTION, EMPTY, both_empty=1.0) == 0.0
    assert precision(PREDICTION, EMPTY) == 0.0
    assert sensitivity(EMPTY, REFERENCE) == 0.0


def test_nothing_to_compare_is_nan():
    assert math.isnan(dice(EMPTY, EMPTY))
    assert math.isnan(iou(EMPTY, EMPTY))
    assert math.isnan(precision(EMPTY, REFERENCE))
    assert math.isnan(sensitivity(PREDICTION, EMPTY))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_two_empty_masks_count_as_the_caller_says(value):
    assert dice(EMPTY, EMPTY, both_empty=value) == value
    assert dice(EMPTY, EMPTY, both_empty=value, axis=1).tolist() == [value]


def test_plane_by_plane():
    first, second = np.zeros((3, 4, 4), bool), np.zeros((3, 4, 4), bool)
    first[0, :2], second[0, 1:3] = True, True
    first[1, 0] = True
    found = dice(first, second, both_empty=0.0, axis=(1, 2))
    assert found.dtype == np.float64
    assert found.tolist() == [0.5, 0.0, 0.0]
    assert iou(first, second, both_empty=1.0, axis=(1, 2)).tolist() == [1 / 3, 0.0, 1.0]
    assert dice(first[:0], second[:0], axis=(1, 2)).shape == (0,)


@given(masks, masks)
def test_properties(first, second):
    value = dice(first, second, both_empty=1.0)
    assert type(value) is float
    assert 0 <= value <= 1
    assert value == dice(second, first, both_empty=1.0)
    assert dice(first, first, both_empty=1.0) == 1
    both, total = int((first & second).sum()), int(first.sum() + second.sum())
    # Exactly, since labels and selections depend on it.
    assert value == (2.0 * both / total if total else 1.0)
    assert iou(first, second, both_empty=1.0) == pytest.approx(value / (2 - value))


@pytest.mark.parametrize("score", [dice, iou, precision, sensitivity])
def test_shapes_must_agree(score):
    with pytest.raises(ValueError, match=r"shapes \(1, 8\) and \(8,\)"):
        score(PREDICTION, REFERENCE[0])
