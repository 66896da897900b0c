import math

import numpy as np
import pytest

from clisc_nnunet.evaluation.slice_scores import slice_scores
from clisc_nnunet.metrics import dice, precision, sensitivity

# Two bars of 4 and 6 pixels that share 3.
PREDICTION = np.array([[1, 1, 1, 1, 0, 0, 0, 0]], bool)
REFERENCE = np.array([[0, 1, 1, 1, 1, 1, 1, 0]], bool)
EMPTY = np.zeros((1, 8), bool)


def test_known_answers():
    assert dice(PREDICTION, REFERENCE) == pytest.approx(2 * 3 / 10)
    assert precision(PREDICTION, REFERENCE) == pytest.approx(3 / 4)
    assert sensitivity(PREDICTION, REFERENCE) == pytest.approx(3 / 6)


def test_dice_is_symmetric_and_one_for_the_same_mask():
    assert dice(REFERENCE, PREDICTION) == dice(PREDICTION, REFERENCE)
    assert dice(REFERENCE, REFERENCE) == 1.0


def test_one_empty_mask_scores_nothing():
    assert dice(EMPTY, REFERENCE) == 0.0
    assert dice(PREDICTION, EMPTY) == 0.0
    assert precision(PREDICTION, EMPTY) == 0.0
    assert sensitivity(EMPTY, REFERENCE) == 0.0


def test_nothing_to_compare_is_nan():
    assert math.isnan(dice(EMPTY, EMPTY))
    assert math.isnan(precision(EMPTY, REFERENCE))
    assert math.isnan(sensitivity(PREDICTION, EMPTY))


@pytest.mark.parametrize("score", [dice, precision, sensitivity])
def test_shapes_must_agree(score):
    with pytest.raises(ValueError, match=r"shape \(1, 8\), reference \(8,\)"):
        score(PREDICTION, REFERENCE[0])


def test_slice_scores_known_answers():
    truth = np.array([True, True, False, False, False, False])
    probability = np.array([0.9, 0.3, 0.8, 0.2, 0.1, 0.0])
    scores = slice_scores(probability, probability > 0.5, truth)
    # Of 2 x 4 pairs the second tumour slice is below one normal slice.
    assert scores["auc"] == pytest.approx(7 / 8)
    assert scores["accuracy"] == pytest.approx(4 / 6)
    assert scores["balanced_accuracy"] == pytest.approx((1 / 2 + 3 / 4) / 2)


def test_slice_scores_of_one_class():
    scores = slice_scores(np.array([0.9, 0.2]), np.array([True, False]), np.array([False, False]))
    assert scores["accuracy"] == 0.5
    assert math.isnan(scores["auc"])
    assert math.isnan(scores["balanced_accuracy"])


def test_slice_scores_of_no_slice():
    nothing = np.zeros(0, bool)
    assert all(map(math.isnan, slice_scores(np.zeros(0), nothing, nothing).values()))
