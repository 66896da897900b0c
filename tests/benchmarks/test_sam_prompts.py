"""SAM by itself on scans with references."""

import json

import numpy as np
import pytest
from helpers.acquisitions import turned

from benchmarks.sam_prompts import main, slices_with_truth
from clisc_nnunet.inputs.find_cases import Case
from clisc_nnunet.io.volume import Volume, write_volume


@pytest.fixture
def scans(head, tmp_path):
    """The head as a folder of one case, acquired from front to back, and its reference."""
    volume, blob = head
    acquired = turned(volume, "PIR")
    truth = turned(Volume(blob.astype(np.float32), volume.geometry), "PIR")
    write_volume(tmp_path / "scans" / "one.nii.gz", acquired.array, acquired.geometry)
    reference = (truth.array > 0.5).astype(np.uint8)
    write_volume(tmp_path / "references" / "one.nii.gz", reference, truth.geometry)
    return tmp_path


def test_the_reference_lies_on_the_slices(scans):
    case = Case("one", scans / "scans" / "one.nii.gz")
    volume = slices_with_truth(case, scans / "references" / "one.nii.gz")
    bright = np.argwhere(volume.pixels > 200)
    assert np.argwhere(volume.tumour).mean(axis=0) == pytest.approx(bright.mean(axis=0), abs=0.5)
    assert (volume.pixels[volume.tumour] > 150).mean() > 0.9


def test_prints_figures(scans, capsys):
    assert main(["-i", str(scans / "scans"), "-r", str(scans / "references")]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert 0 <= figures["dice_true_box"] <= 1


def test_a_reference_that_is_missing_is_reported(scans, capsys):
    (scans / "references" / "one.nii.gz").unlink()
    assert main(["-i", str(scans / "scans"), "-r", str(scans / "references")]) == 2
    assert "one.nii.gz" in capsys.readouterr().err
