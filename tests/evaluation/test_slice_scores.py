import math

import numpy as np
import pytest

from clisc_nnunet.evaluation.slice_scores import slice_scores


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
