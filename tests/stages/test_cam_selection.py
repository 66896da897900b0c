import numpy as np
import pytest

from clisc_nnunet.errors import UserError
from clisc_nnunet.settings import CamSettings, RoiSettings, Settings
from clisc_nnunet.stages.cam_selection import Trial, best, candidates, gather, spread


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


def test_a_threshold_that_is_set_is_the_only_one():
    layers = ["layer1", "layer2"]
    assert candidates(Settings(roi=RoiSettings(candidates=(0.2, 0.4))), layers)[1] == [0.2, 0.4]
    assert candidates(Settings(roi=RoiSettings(threshold=0.3)), layers)[1] == [0.3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cam": CamSettings(layer="layer9")}, "cam.layer: found layer9; expected some of a, b"),
        ({"cam": CamSettings(candidates=("layer9",))}, "cam.candidates: found layer9"),
        ({"cam": CamSettings(candidates=())}, "cam.candidates: found none"),
        (
            {"cam": CamSettings("a"), "roi": RoiSettings(candidates=())},
            "roi.candidates: found none",
        ),
    ],
)
def test_there_must_be_something_to_choose_from(settings, message):
    with pytest.raises(UserError, match=message):
        candidates(Settings(**settings), ["a", "b"])


def test_spread_is_even_and_keeps_the_ends():
    assert spread(np.arange(100), 3).tolist() == [0, 50, 99]
    assert spread(np.arange(2), 8).tolist() == [0, 1]
    assert spread(np.arange(0), 8).tolist() == []
