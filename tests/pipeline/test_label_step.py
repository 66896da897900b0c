"""Stage 11: the label on the scan's grid."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.acquisitions import turned
from helpers.cases import extract_into, make_config

from clisc_nnunet.io.volume import read_mask, read_volume, same_grid, write_volume
from clisc_nnunet.metrics import dice
from clisc_nnunet.pipeline.config import CaseInput
from clisc_nnunet.pipeline.label_step import write_label
from clisc_nnunet.pipeline.result_cache import ResultCache
from clisc_nnunet.pipeline.serialization import pack_region, unpack_stack
from clisc_nnunet.settings import PseudoLabelSettings, SliceSettings

GIVEN = SliceSettings(brain="given")


@pytest.fixture
def blob_case(head, tmp_path):
    """Inputs of stage 11 where SAM drew exactly the blob; region and CAM are its left half.

    The scan was acquired from front to back.
    """
    volume, blob = head
    acquired = turned(volume, "PIR")
    scan = tmp_path / "scan.nii.gz"
    write_volume(scan, acquired.array, acquired.geometry)
    truth = turned(replace(volume, array=blob.astype(np.float32)), "PIR").array > 0.5
    cache = ResultCache(tmp_path / "stages")
    extract_into(cache, "case", scan, GIVEN, "s")
    slices = cache.require("case", "slices", "s")
    seen = unpack_stack(slices).pixels > 200
    planes = np.flatnonzero(seen.any(axis=(1, 2)))
    half = seen & (np.indices(seen.shape)[2] > np.argwhere(seen)[:, 2].mean())
    masks = {
        "planes": planes,
        "logits": np.where(seen[planes], 5.0, -5.0).astype(np.float16),
        "predicted_iou": np.ones(len(planes), np.float32),
        "agreement": np.ones(len(planes)),
        "second_opinion": np.array(False),
    }
    regions = {
        "planes": planes,
        "cam": (200 * half[planes]).astype(np.uint8),
        "roi": pack_region(half),
    }
    labels = {"planes": planes, "voted": np.ones(len(planes), int)}
    config, case = make_config(cache, GIVEN), CaseInput("case", scan)
    (cache.root / "case").mkdir(exist_ok=True)

    def write(min_case_iou=0.0, **changed):
        settings = PseudoLabelSettings(min_case_iou=min_case_iou)
        adapted = replace(config, settings=replace(config.settings, pseudo_label=settings))
        outcome = write_label(adapted, case, slices, labels, regions, {**masks, **changed})
        drawn = cache.root / "case" / "drawn_label.nii.gz"
        return outcome, read_mask(drawn, acquired.geometry)

    return write, config, truth


def test_label_cam_and_region_lie_on_the_scans_grid(blob_case):
    write, config, truth = blob_case
    outcome, label = write()
    geometry = read_volume(config.cache.root.parent / "scan.nii.gz").geometry
    assert dice(label, truth) > 0.85
    assert outcome.label_ml == pytest.approx(label.sum() * 8 / 1000)
    cam = read_volume(config.dataset.cam("case"))
    assert same_grid(cam.geometry, geometry)
    assert 190 <= cam.array.max() <= 200
    region = read_mask(config.dataset.roi("case"), geometry)
    assert 0.35 < region.sum() / truth.sum() < 0.65
    assert (region & ~label).mean() < 0.001
    # Both are interpolated alike, up to rounding at the threshold.
    assert (cam.array[region] >= 100).all()
    assert region[cam.array > 100].all()


def test_a_case_that_sam_is_sure_of_keeps_its_label(blob_case):
    assert blob_case[0](min_case_iou=0.9)[0].label_ml > 0


def test_a_case_that_sam_is_not_sure_of_has_an_empty_label(blob_case):
    write, config, _ = blob_case
    outcome, label = write(0.5, predicted_iou=np.full(99, 0.4, np.float32)[: _planes(config)])
    assert outcome.label_ml == 0 and outcome.status == "empty"
    assert not label.any()


def _planes(config):
    """Number of planes that show the blob."""
    stack = unpack_stack(config.cache.require("case", "slices", "s"))
    return int((stack.pixels > 200).any(axis=(1, 2)).sum())


def test_the_label_is_written_last(blob_case, monkeypatch):
    """If a label exists, the case is complete."""
    write, config, _ = blob_case
    written = []

    def fail_at_roi(path, array, geometry):
        written.append(path)
        if path == config.dataset.roi("case"):
            raise OSError("disk full")

    monkeypatch.setattr("clisc_nnunet.pipeline.label_step.write_volume", fail_at_roi)
    with pytest.raises(OSError, match="disk full"):
        write()
    assert written == [config.dataset.cam("case"), config.dataset.roi("case")]
