"""The quality of a mask in memory is that of clisc_estimate_quality."""

import numpy as np
import pytest
import torch

from clisc_nnunet.cli.estimate_quality import main
from clisc_nnunet.io.volume import write_volume
from clisc_nnunet.quality_control.mask_quality import MaskRater
from clisc_nnunet.stages.slice_extraction import foreground_mask


def test_it_is_that_of_the_command(head, tmp_path):
    volume, blob = head
    write_volume(tmp_path / "images" / "one_0000.nii.gz", volume.array, volume.geometry)
    write_volume(tmp_path / "masks" / "one.nii.gz", blob, volume.geometry)
    call = ["-i", str(tmp_path / "images"), "-p", str(tmp_path / "masks"), "--looks", "axial"]
    assert main([*call, "-device", "cpu", "-np", "1"]) == 0
    header, row = (tmp_path / "masks" / "quality" / "quality.csv").read_text().splitlines()
    expected = float(dict(zip(header.split(","), row.split(","), strict=True))["score"])
    rater = MaskRater.bundled(torch.device("cpu"))
    brain = foreground_mask(volume.array)
    assert rater.rate("one", volume, brain, blob) == pytest.approx(expected, abs=1e-3)


def test_masks_of_one_name_do_not_share_embeddings(head):
    volume, blob = head
    rater, brain = MaskRater.bundled(torch.device("cpu")), foreground_mask(volume.array)
    first = rater.rate("one", volume, brain, blob)
    darker = type(volume)(np.where(blob, 60, volume.array).astype(np.float32), volume.geometry)
    assert rater.rate("one", darker, brain, blob) != first
    assert rater.rate("one", volume, brain, blob) == first


def test_an_empty_mask_has_none(head):
    volume, blob = head
    rater = MaskRater.bundled(torch.device("cpu"))
    assert rater.rate("one", volume, foreground_mask(volume.array), np.zeros_like(blob)) is None
