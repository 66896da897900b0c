import math
from dataclasses import replace

import numpy as np
import pytest
from helpers.finished import SCAN, SHAPE, SLICES, FinishedCase, block, on_scan, write_finished

from clisc_nnunet.errors import ScanError
from clisc_nnunet.evaluation.stage_scores import score_case, tumour_shares
from clisc_nnunet.io.volume import write_volume
from clisc_nnunet.stages.slice_classes import NORMAL, TUMOUR, UNSURE

EMPTY = np.zeros(SHAPE, bool)
# 3 planes of 8 x 10 pixels in one corner, so that a flip or a shift of axes would show.
TRUTH = block(slice(2, 5), slice(2, 10), slice(3, 13))
# Half of it, a quarter of it, and all of it with as much again.
HALF = block(slice(2, 5), slice(2, 6), slice(3, 13))
QUARTER = block(slice(2, 5), slice(2, 4), slice(3, 13))
DOUBLE = block(slice(2, 5), slice(2, 10), slice(3, 23))
PROBABILITY = np.array([0.1, 0.6, 0.7, 0.9, 0.4, 0.2, 0.1, 0.1])
VOTED = np.array([NORMAL, UNSURE, TUMOUR, TUMOUR, TUMOUR, UNSURE, NORMAL, NORMAL])
CASE = FinishedCase(QUARTER, HALF, DOUBLE, PROBABILITY, VOTED)


@pytest.fixture
def score(tmp_path):
    """Score a case against a truth on the slices' grid, or against none."""

    def run(case, truth):
        dataset = write_finished(tmp_path / "dataset", {"a": case}, failed="b")
        reference = None
        if truth is not None:
            reference = tmp_path / "a.nii.gz"
            write_volume(reference, 2 * on_scan(truth).astype(np.uint8), SCAN)
        return score_case(dataset, "a", reference)

    return run


def test_dice_of_every_stage_on_the_scans_grid(score):
    found = score(CASE, TRUTH)
    assert list(found.dice) == ["raw ROI", "enhanced ROI", "pseudo-label"]
    assert found.dice["raw ROI"] == pytest.approx(2 * 0.25 / 1.25)
    assert found.dice["enhanced ROI"] == pytest.approx(2 * 0.5 / 1.5)
    assert found.dice["pseudo-label"] == pytest.approx(2 / 3)
    assert (found.precision, found.sensitivity) == (0.5, 1.0)
    assert found.truth_ml == pytest.approx(240 * 1.5 * 1.5 * 6 / 1000)
    assert found.label_ml == pytest.approx(2 * found.truth_ml)


def test_slices_of_every_stage(score):
    calls = score(CASE, TRUTH).slices
    assert np.flatnonzero(calls.truth).tolist() == [2, 3, 4]
    np.testing.assert_allclose(calls.clip, PROBABILITY, atol=1e-6)
    assert calls.sure.tolist() == (PROBABILITY > 0.5).astype(int).tolist()
    assert calls.voted.tolist() == VOTED.tolist()
    assert list(calls.classifiers) == ["raw", "enhanced"]
    assert np.flatnonzero(calls.drawn).tolist() == [2, 3, 4]


def test_unclear_planes_are_left_out(score):
    # 23 pixels of 2.25 square mm are too few to be clear, 24 are enough.
    few = block(slice(5, 6), slice(0, 1), slice(0, 23))
    assert (
        score(CASE, TRUTH | few).slices.truth.tolist()
        == [False, False, True, True, True] + [False] * 2
    )
    enough = block(slice(5, 6), slice(0, 1), slice(0, 24))
    assert np.flatnonzero(score(CASE, TRUTH | enough).slices.truth).tolist() == [2, 3, 4, 5]


def test_case_without_label_counts_as_background(score):
    found = score(replace(CASE, label=EMPTY), TRUTH)
    assert found.dice["pseudo-label"] == 0.0
    assert found.sensitivity == 0.0
    assert math.isnan(found.precision)


def test_without_masking_there_is_one_region(score, tmp_path):
    score(CASE, TRUTH)
    (tmp_path / "dataset" / "clisc" / "stages" / "a" / "enhanced_regions.npz").unlink()
    found = score_case(tmp_path / "dataset", "a", tmp_path / "a.nii.gz")
    assert list(found.dice) == ["raw ROI", "pseudo-label"]
    assert list(found.slices.classifiers) == ["raw"]


def test_scan_without_tumour(score):
    found = score(CASE, None)
    assert found.dice == {"raw ROI": 0.0, "enhanced ROI": 0.0, "pseudo-label": 0.0}
    assert not found.slices.truth.any()
    assert tumour_shares(found.slices) == {
        "CLIP": 3 / 8,
        "sure": 3 / 8,
        "voted": 3 / 8,
        "unsure": 2 / 8,
        "raw classifier": 3 / 8,
        "enhanced classifier": 3 / 8,
        "pseudo-label": 3 / 8,
    }


def test_reference_on_another_grid_is_refused(tmp_path):
    dataset = write_finished(tmp_path / "dataset", {"a": CASE}, failed="b")
    write_volume(tmp_path / "a.nii.gz", TRUTH.astype(np.uint8), SLICES)
    with pytest.raises(ScanError, match="resample it to its scan"):
        score_case(dataset, "a", tmp_path / "a.nii.gz")
