"""SAM's metrics: prompts from the truth, corrupted or not."""

import numpy as np
import pytest
import torch
from helpers.balls import TUMOUR_GREY
from torch import nn

from clisc_nnunet.bundled.held_out_metrics import PROMPTS, corrupted_box_masks, sam_metrics
from clisc_nnunet.bundled.phantom_set import TrainingVolume
from clisc_nnunet.stages.sam.prompts_and_masks import Masks


@pytest.fixture
def volume():
    """A bright disc that moves through six planes, on a dark brain."""
    plane, row, column = np.indices((6, 128, 128))
    brain = (row - 64) ** 2 + (column - 64) ** 2 < 50**2
    tumour = (row - 60 - 2 * plane) ** 2 + (column - 50) ** 2 < 15**2
    return TrainingVolume(np.where(tumour, TUMOUR_GREY, 90 * brain).astype(np.uint8), tumour)


@pytest.fixture
def asked(monkeypatch):
    """Prompts that reach SAM; it answers with all that is bright, or with nothing."""
    seen = []

    def segment(sam, embeddings, prompts, side, settings):
        seen.append(prompts)
        return Masks(np.where(embeddings.numpy() > 200, 1.0, -1.0), np.linspace(0.2, 0.9, 3))

    monkeypatch.setattr(
        "clisc_nnunet.bundled.held_out_metrics.embed",
        lambda sam, pixels, _: torch.from_numpy(pixels),
    )
    monkeypatch.setattr("clisc_nnunet.bundled.held_out_metrics.segment", segment)
    return seen


def test_boxes_are_the_tumours_own_unless_they_are_corrupted(volume, asked):
    planes = slice(None, None, 2)
    pixels, truth = volume.pixels[planes], volume.tumour[planes]
    corrupted_box_masks(nn.Identity(), pixels, truth, corruption=0.0)
    corrupted_box_masks(nn.Identity(), pixels, truth, corruption=0.0, margin=5)
    corrupted_box_masks(nn.Identity(), pixels, truth, corruption=0.5)
    exact, wide, spoilt = asked
    assert exact.boxes[0].tolist() == [36, 46, 64, 74]
    assert wide.boxes[0].tolist() == [31, 41, 69, 79]
    assert np.abs(spoilt.boxes - exact.boxes).max() > 4
    for prompts in asked:
        x0, y0, x1, y1 = prompts.boxes[1]
        assert prompts.points[1, -4:].tolist() == [[x0, y0], [x1, y0], [x0, y1], [x1, y1]]


def test_metrics_are_means_over_volumes(volume, asked):
    dark = TrainingVolume(np.minimum(volume.pixels, 100), volume.tumour)
    none = TrainingVolume(dark.pixels, np.zeros_like(dark.tumour))
    found = sam_metrics(nn.Identity(), [volume, dark, none], every=2)
    assert {key.removeprefix("dice_") for key in found} == {*PROMPTS, "iou_spearman"}
    # One volume is drawn in full, one not at all, the one without a tumour is left out.
    assert found["dice_true_box"] == 0.5
    assert -1 <= found["iou_spearman"] <= 1
