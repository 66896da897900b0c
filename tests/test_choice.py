import numpy as np
import pytest

from clisc_nnunet.choice import Trial, agreement, best


def test_agreement_is_dice_per_slice():
    first, second = np.zeros((3, 4, 4), bool), np.zeros((3, 4, 4), bool)
    first[0, :2], second[0, 1:3] = True, True
    first[1, 0] = True
    assert agreement(first, second).tolist() == [0.5, 0.0, 0.0]


def test_the_best_trial_agrees_and_is_sure():
    trials = [
        Trial("layer1", 0.1, predicted_iou=0.9, agreement=0.1),
        Trial("layer2", 0.2, predicted_iou=0.6, agreement=0.6),
        Trial("layer3", 0.3, predicted_iou=0.1, agreement=0.9),
    ]
    assert best(trials) is trials[1]
    with pytest.raises(ValueError, match="empty"):
        best([])
