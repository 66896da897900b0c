"""Stages 1 and 11 on files: cutting a scan, and drawing its label."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from helpers.acquisitions import turned

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.volume import read_mask, read_volume, same_grid, write_volume
from clisc_nnunet.pipeline.label_step import DrawTask, draw_case
from clisc_nnunet.pipeline.result_cache import Fingerprint, ResultCache
from clisc_nnunet.pipeline.serialization import pack_stack, unpack_stack
from clisc_nnunet.pipeline.slice_step import check_channels, cut_scan
from clisc_nnunet.settings import PseudoLabelSettings, SliceSettings
from clisc_nnunet.stages.slice_extraction import make_slices

# The head is made up and has no skull.
SETTINGS = SliceSettings(brain="given")
S = Fingerprint("scan")


@pytest.fixture
def scan(head, tmp_path):
    """The head on a file, acquired from front to back; its path and the blob on its grid."""
    volume, blob = head
    acquired = turned(volume, "PIR")
    path = tmp_path / "scan.nii.gz"
    write_volume(path, acquired.array, acquired.geometry)
    truth = turned(replace(volume, array=blob.astype(np.float32)), "PIR").array > 0.5
    return path, truth


def test_a_stack_survives_the_store(head, tmp_path):
    stack = make_slices(head[0], SETTINGS)
    cache = ResultCache(tmp_path)
    cache.save("case", "slices", "abc", pack_stack(stack))
    again = unpack_stack(cache.require("case", "slices", "abc"))
    assert np.array_equal(again.pixels, stack.pixels)
    assert np.array_equal(again.brain, stack.brain)
    assert again.brain.dtype == bool
    assert again.geometry == stack.geometry


def test_a_scan_is_cut_and_its_path_is_told(scan, tmp_path):
    path, _ = scan
    cache = ResultCache(tmp_path)
    assert cut_scan("case", path, SETTINGS, cache, S) == ((str(path),), ())
    stack = unpack_stack(cache.require("case", "slices", S.signature))
    assert np.array_equal(stack.pixels, make_slices(read_volume(path), SETTINGS).pixels)


def test_a_scan_that_cannot_be_used_leaves_nothing(scan, tmp_path):
    path, _ = scan
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ScanError, match=r"scan.nii.gz: found a file that cannot be read \(5000"):
        cut_scan("case", path, SETTINGS, ResultCache(tmp_path / "stages"), S)
    assert not (tmp_path / "stages").exists()


def test_a_speck_is_no_brain(head, tmp_path):
    volume, _ = head
    array = np.zeros_like(volume.array)
    array[30, 40, 35] = 9.0
    write_volume(tmp_path / "speck.nii.gz", array, volume.geometry)
    with pytest.raises(ScanError, match="no plane with brain"):
        cut_scan("case", tmp_path / "speck.nii.gz", SETTINGS, ResultCache(tmp_path), S)


@pytest.fixture
def task(scan, tmp_path):
    """A case of which SAM drew exactly the blob; region and CAM are its left half."""
    path, _ = scan
    cache = ResultCache(tmp_path / "stages")
    cut_scan("case", path, SETTINGS, cache, S)
    stack = unpack_stack(cache.require("case", "slices", S.signature))
    blob = stack.pixels > 200
    planes = np.flatnonzero(blob.any(axis=(1, 2)))
    half = blob & (np.indices(blob.shape)[2] > np.argwhere(blob)[:, 2].mean())
    masks = {
        "planes": planes,
        "logits": np.where(blob[planes], 5.0, -5.0).astype(np.float16),
        "predicted_iou": np.ones(len(planes), np.float32),
    }
    region = {
        "planes": planes,
        "cam": (200 * half[planes]).astype(np.uint8),
        "roi": np.packbits(half),
    }
    cache.save("case", "masks", "m", masks)
    cache.save("case", "regions", "r", region)
    files = [tmp_path / "out" / name / "case.nii.gz" for name in ("labels", "cam", "roi")]
    return DrawTask(
        "case", path, cache, ("slices", S.signature), ("regions", "r"), ("masks", "m"),
        PseudoLabelSettings(), SETTINGS, *files,
    )  # fmt: skip


def test_label_cam_and_region_lie_on_the_scans_grid(task, scan):
    path, truth = scan
    volume_ml, read = draw_case(task)
    assert read == (str(path),)
    geometry = read_volume(path).geometry
    label = read_mask(task.label_file, geometry)
    assert 2 * (label & truth).sum() / (label.sum() + truth.sum()) > 0.85
    assert volume_ml == pytest.approx(label.sum() * 8 / 1000)
    cam = read_volume(task.cam_file)
    assert same_grid(cam.geometry, geometry)
    assert 190 <= cam.array.max() <= 200
    region = read_mask(task.roi_file, geometry)
    assert 0.35 < region.sum() / truth.sum() < 0.65
    assert (region & ~label).mean() < 0.001
    # Both shrink alike where they are interpolated; at the limit itself rounding decides.
    assert (cam.array[region] >= 100).all()
    assert region[cam.array > 100].all()


def test_a_case_that_sam_is_sure_of_keeps_its_label(task):
    assert draw_case(replace(task, settings=PseudoLabelSettings(min_case_iou=0.9)))[0] > 0


def test_a_case_that_sam_is_not_sure_of_has_an_empty_label(task):
    drawn = task.cache.require("case", "masks", "m")
    unsure = {**drawn, "predicted_iou": np.full(len(drawn["planes"]), 0.4, np.float32)}
    task.cache.save("case", "masks", "unsure", unsure)
    settings = PseudoLabelSettings(min_case_iou=0.5)
    volume_ml, _ = draw_case(replace(task, masks=("masks", "unsure"), settings=settings))
    assert volume_ml == 0
    assert not read_mask(task.label_file, read_volume(task.scan).geometry).any()


def test_a_scan_with_skull_is_cut_round_its_brain(head, tmp_path, monkeypatch):
    volume, _ = head
    core = volume.array > 0
    core[:, :20] = False
    monkeypatch.setattr(
        "clisc_nnunet.pipeline.slice_step.extract_brain", lambda scan, settings: core
    )
    write_volume(tmp_path / "scan.nii.gz", volume.array, volume.geometry)
    cache = ResultCache(tmp_path / "stages")
    cut_scan("case", tmp_path / "scan.nii.gz", SliceSettings(), cache, S)
    stack = unpack_stack(cache.require("case", "slices", S.signature))
    expected = make_slices(read_volume(tmp_path / "scan.nii.gz"), SliceSettings(), core)
    share = cache.require("case", "slices", S.signature)["brain_share"]
    assert share == pytest.approx(core.sum() / (volume.array != 0).sum())
    assert np.array_equal(stack.pixels, expected.pixels)


def test_the_label_is_written_last(task, monkeypatch):
    """Where a label is, the case is done."""
    written = []

    def note(path, array, geometry):
        written.append(path)
        if path == task.roi_file:
            raise OSError("disk full")

    monkeypatch.setattr("clisc_nnunet.pipeline.slice_step.write_volume", note)
    with pytest.raises(OSError, match="disk full"):
        draw_case(task)
    assert written == [task.cam_file, task.roi_file]


def test_results_that_are_gone_are_told(task):
    task.cache.path("case", "masks").unlink()
    with pytest.raises(RuntimeError, match="is gone or was changed"):
        draw_case(task)


def test_a_given_brain_takes_the_place_of_the_extracted_one(head, tmp_path):
    volume, _ = head
    core = volume.array > 0
    core[:, :20] = False
    for name, array in (("scan", volume.array), ("brain", core)):
        write_volume(tmp_path / f"{name}.nii.gz", array, volume.geometry)
    cache, brain_file = ResultCache(tmp_path / "stages"), tmp_path / "brain.nii.gz"
    settings = SliceSettings(brain="extracted")
    read, _ = cut_scan("case", tmp_path / "scan.nii.gz", settings, cache, S, brain_file=brain_file)
    assert read == (str(tmp_path / "scan.nii.gz"), str(brain_file))
    stack = unpack_stack(cache.require("case", "slices", S.signature))
    assert np.array_equal(stack.pixels, make_slices(volume, settings, core).pixels)


@pytest.mark.parametrize(
    ("shift", "cut", "message"),
    [(0.0, None, None), (3.0, None, "expected the scan's"), (0.0, 900, "cannot be read")],
)
def test_further_channels_must_be_whole_and_lie_on_the_same_voxels(
    head, tmp_path, shift, cut, message
):
    volume, _ = head
    scan, other = tmp_path / "scan.nii.gz", tmp_path / "t1.nii.gz"
    write_volume(scan, volume.array, volume.geometry)
    x, y, z = volume.geometry.origin
    write_volume(other, volume.array, replace(volume.geometry, origin=(x + shift, y, z)))
    other.write_bytes(other.read_bytes()[:cut])
    expected = pytest.raises(ScanError, match=rf"t1\.nii\.gz: found .*{message}")
    cache = ResultCache(tmp_path / "stages")
    with expected if message else nullcontext():
        assert check_channels("case", scan, [other], cache, S) == (str(other),)
    assert (cache.mismatch("case", "channels", S) is None) == (message is None)
