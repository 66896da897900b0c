import numpy as np
import pytest

from clisc_nnunet.metrics import agreement
from clisc_nnunet.pipeline.shared_steps import read_choice, write_choice
from clisc_nnunet.stages.cam_selection import Trial, best, gather


def test_agreement_is_dice_per_slice():
    first, second = np.zeros((3, 4, 4), bool), np.zeros((3, 4, 4), bool)
    first[0, :2], second[0, 1:3] = True, True
    first[1, 0] = True
    assert agreement(first, second).tolist() == [0.5, 0.0, 0.0]


def test_the_best_trial_has_the_highest_score():
    trials = [
        Trial("layer1", 0.1, predicted_iou=0.9, agreement=0.1),
        Trial("layer2", 0.2, predicted_iou=0.6, agreement=0.6),
        Trial("layer3", 0.3, predicted_iou=0.1, agreement=0.9),
    ]
    assert best(trials) is trials[1]
    with pytest.raises(ValueError, match="empty"):
        best([])


def test_every_plane_has_the_same_weight():
    few = np.full((1, 2, 1), 0.2), np.full((1, 2, 1), 1.0)
    many = np.full((1, 2, 3), 0.6), np.full((1, 2, 3), 0.0)
    trials = gather(["layer1"], [0.1, 0.2], [few, many])
    assert [(t.layer, t.threshold) for t in trials] == [("layer1", 0.1), ("layer1", 0.2)]
    assert trials[0].predicted_iou == pytest.approx(0.5)
    assert trials[0].agreement == pytest.approx(0.25)


def test_a_selection_is_read_back_with_its_signature(tmp_path):
    path = tmp_path / "choice.json"
    assert read_choice(path, "signed") is None
    write_choice(path, "signed", Trial("layer2", 0.3, predicted_iou=0.9, agreement=0.8))
    assert read_choice(path, "signed") == ("layer2", 0.3)
    assert read_choice(path, "other") is None
    path.write_text("[")
    assert read_choice(path, "signed") is None
