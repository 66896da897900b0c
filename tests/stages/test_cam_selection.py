import numpy as np
import pytest

from clisc_nnunet.pipeline.shared_steps import read_choice, write_choice
from clisc_nnunet.stages.cam_selection import Trial, best, gather


def test_the_best_trial_agrees_and_is_sure():
    trials = [
        Trial("layer1", 0.1, predicted_iou=0.9, agreement=0.1),
        Trial("layer2", 0.2, predicted_iou=0.6, agreement=0.6),
        Trial("layer3", 0.3, predicted_iou=0.1, agreement=0.9),
    ]
    assert best(trials) is trials[1]
    with pytest.raises(ValueError, match="empty"):
        best([])


def test_every_plane_counts_alike():
    few = np.full((1, 2, 1), 0.2), np.full((1, 2, 1), 1.0)
    many = np.full((1, 2, 3), 0.6), np.full((1, 2, 3), 0.0)
    trials = gather(["layer1"], [0.1, 0.2], [few, many])
    assert [(t.layer, t.threshold) for t in trials] == [("layer1", 0.1), ("layer1", 0.2)]
    assert trials[0].predicted_iou == pytest.approx(0.5)
    assert trials[0].agreement == pytest.approx(0.25)


def test_a_choice_is_read_back_under_its_signature(tmp_path):
    path = tmp_path / "choice.json"
    assert read_choice(path, "signed") is None
    write_choice(path, "signed", Trial("layer2", 0.3, predicted_iou=0.9, agreement=0.8))
    assert read_choice(path, "signed") == ("layer2", 0.3)
    assert read_choice(path, "other") is None
    path.write_text("[")
    assert read_choice(path, "signed") is None
