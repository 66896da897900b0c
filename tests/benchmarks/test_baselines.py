import numpy as np
import pytest
import torch
from helpers.finished import SCAN, SHAPE, FinishedCase, block, on_scan, write_finished

from benchmarks import baselines
from benchmarks.baselines import main
from benchmarks.phantom_unet import CHECKPOINT, build
from clisc_nnunet.io.volume import read_mask, read_volume, recording, write_volume
from clisc_nnunet.stages.connected_components import large_components

RAW = block(slice(2, 5), slice(10, 14), slice(8, 16))
ENHANCED = block(slice(2, 5), slice(8, 18), slice(8, 20))
ALL = np.ones(SHAPE, bool)


@pytest.fixture
def scans(tmp_path):
    """A brain of 100 with a bright block, as an nnU-Net folder."""
    array = np.zeros(SHAPE, np.float32)
    array[1:7, 4:28, 4:28] = 100 + np.random.default_rng(0).normal(0, 3, (6, 24, 24))
    array[on_scan(ENHANCED)] += 80
    write_volume(tmp_path / "scans" / "one_0000.nii.gz", array, SCAN)
    return tmp_path / "scans"


@pytest.fixture
def dataset(tmp_path):
    case = FinishedCase(RAW, ENHANCED, ENHANCED, np.full(8, 0.5), np.zeros(8, int))
    return write_finished(tmp_path / "dataset", {"one": case}, failed="broken")


def prediction(out, name):
    return read_mask(out / name / "one.nii.gz", SCAN)


def test_regions_of_a_conversion(scans, dataset, tmp_path):
    out = tmp_path / "out"
    call = ["-i", str(scans), "-o", str(out), "-d", str(dataset), "--only"]
    assert main([*call, "cam-only", "cam-without-amda"]) == 0
    assert np.array_equal(prediction(out, "cam-only"), on_scan(ENHANCED))
    assert np.array_equal(prediction(out, "cam-without-amda"), on_scan(RAW))


def test_no_mask_is_read_and_what_is_there_is_kept(scans, tmp_path, monkeypatch):
    out = tmp_path / "out"
    names = ["otsu", "sam-brain-box", "sam-automatic"]
    with recording() as read:
        assert main(["-i", str(scans), "-o", str(out), "--only", *names]) == 0
    assert read == [str(scans / "one_0000.nii.gz")]
    inside = read_volume(scans / "one_0000.nii.gz").array != 0
    assert all(not prediction(out, name)[~inside].any() for name in names)
    found = prediction(out, "otsu")
    assert 2 * (found & on_scan(ENHANCED)).sum() / (found.sum() + ENHANCED.sum()) > 0.8

    monkeypatch.setattr(baselines, "BASELINES", dict.fromkeys(names, _not_called))
    assert main(["-i", str(scans), "-o", str(out), "--only", *names]) == 0


def test_the_networks_logits_become_a_mask(scans, tmp_path, monkeypatch):
    torch.save({"module": build().state_dict()}, tmp_path / CHECKPOINT)
    monkeypatch.setattr(
        baselines, "unet_logits", lambda net, pixels: np.where(pixels > 200, 4, -4).astype("f4")
    )
    out = tmp_path / "out"
    both = ["phantom-unet", "phantom-unet-largest"]
    call = ["-i", str(scans), "-o", str(out), "--only", *both, "--unet", str(tmp_path)]
    assert main(call) == 0
    found = prediction(out, "phantom-unet")
    assert 2 * (found & on_scan(ENHANCED)).sum() / (found.sum() + ENHANCED.sum()) > 0.8
    assert np.array_equal(prediction(out, "phantom-unet-largest"), large_components(found, 1.0))


def test_options_that_are_missing_are_reported(scans, tmp_path, capsys):
    call = ["-i", str(scans), "-o", str(tmp_path / "out"), "--only"]
    assert main([*call, "cam-only"]) == 2
    assert "error: -d: found nothing" in capsys.readouterr().err
    assert main([*call, "phantom-unet", "--unet", str(tmp_path)]) == 2
    assert "expected a trained network" in capsys.readouterr().err


def test_a_scan_without_a_conversion_is_skipped(scans, dataset, tmp_path, capsys):
    write_volume(scans / "two_0000.nii.gz", np.indices(SHAPE).sum(0).astype("f4"), SCAN)
    call = ["-i", str(scans), "-o", str(tmp_path / "out"), "-d", str(dataset)]
    assert main([*call, "--only", "cam-only"]) == 3
    assert "skipped" in capsys.readouterr().err
    assert prediction(tmp_path / "out", "cam-only").any()


def _not_called(seen):
    raise AssertionError("made again")
