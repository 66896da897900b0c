import resource
import sys

import numpy as np
import pytest
import torch

from benchmarks.large_models import REST, by_stage, measured, rate_all_alike, table
from clisc_nnunet.settings import PromptSettings, SamSettings
from clisc_nnunet.stages.sam.batched_predictor import embed, segment
from clisc_nnunet.stages.sam.prompts import make_prompts


def test_what_is_no_stage_has_a_row_of_its_own():
    seconds = {"slices": 2.0, "SAM": 15.0, "total": 20.0}
    assert by_stage(seconds) == [("slices", 2.0, 0.1), ("SAM", 15.0, 0.75), (REST, 3.0, 0.15)]
    assert "| SAM | 15.0 | 75% |" in table(seconds)


def test_a_command_is_measured_alone():
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # what a child begins with
    hold = f"x = bytearray({ours + 200_000_000}); import time; time.sleep(0.3); raise SystemExit(3)"
    held = measured([sys.executable, "-c", hold])
    assert held.status == 3
    assert held.wall >= 0.3
    assert held.peak_gb >= ours / 1e9 + 0.19
    told = "import os; raise SystemExit(int(os.environ['CLISC_TOLD']))"
    later = measured([sys.executable, "-c", told], {"CLISC_TOLD": "4"})
    assert later.status == 4
    assert later.peak_gb < ours / 1e9 + 0.1  # not that of the command before


def test_a_sam_rates_all_its_masks_alike(random_sam):
    before = {key: value.clone() for key, value in random_sam.state_dict().items()}
    try:
        random_sam.load_state_dict(rate_all_alike(random_sam.state_dict(), 0.9))
        pixels = np.random.default_rng(0).integers(0, 255, (3, 128, 128)).astype(np.uint8)
        regions = np.zeros(pixels.shape, bool)
        regions[:, 40:60, 50:90] = True
        prompts, settings = make_prompts(pixels, regions, PromptSettings()), SamSettings()
        found = segment(random_sam, embed(random_sam, pixels, settings), prompts, 128, settings)
        assert found.predicted_iou == pytest.approx([0.9] * 3)
        assert found.logits.std() > 0
    finally:
        random_sam.load_state_dict(before)
    assert torch.equal(
        random_sam.state_dict()["mask_decoder.iou_token.weight"],
        before["mask_decoder.iou_token.weight"],
    )
