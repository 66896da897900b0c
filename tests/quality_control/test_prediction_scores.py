from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.cases import extract_into

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.volume import write_volume
from clisc_nnunet.models.sam import load_sam
from clisc_nnunet.pipeline.result_cache import Fingerprint, ResultCache
from clisc_nnunet.quality_control.prediction_scores import (
    CaseQuality,
    OpenedPrediction,
    open_prediction,
    rank_cases,
    representative_views,
    score_prediction,
    trust_score,
)
from clisc_nnunet.quality_control.prompt_stability import JitterSettings
from clisc_nnunet.s3f.dataset_slices import DatasetSlices
from clisc_nnunet.s3f.similarity import make_volume_segmenter
from clisc_nnunet.settings import Settings
from clisc_nnunet.stages.slice_extraction import make_slices

JITTER = JitterSettings(repeats=2)


@pytest.fixture(scope="module")
def segmenter():
    return make_volume_segmenter(load_sam("bundled", torch.device("cpu")), Settings(), "axial")


@pytest.fixture
def opened(head):
    stack = make_slices(head[0], replace(Settings().slices, plane_mm=8.0))
    return OpenedPrediction("good", stack, stack.pixels > 200, 17.0, 1)


def test_sam_confirms_what_lies_on_the_tumour(segmenter, opened):
    good, views = score_prediction(segmenter, opened, JITTER)
    wrong = replace(opened, case="wrong", mask=np.roll(opened.mask, -30, axis=1))
    bad, _ = score_prediction(segmenter, wrong, JITTER)
    assert good.status == bad.status == "judged" and good.reason == ""
    assert good.similarity > 0.6 and good.similarity > bad.similarity
    assert good.predicted_iou > bad.predicted_iou
    assert good.volume_ml == 17.0 and 0 < good.answer_ml < 30
    assert [case.case for case in rank_cases([good, bad])] == ["wrong", "good"]
    assert views[0].prediction.sum() == opened.mask.sum(axis=(1, 2)).max()


@pytest.mark.parametrize(
    ("volume_ml", "reason"),
    [(0.0, "the prediction is empty"), (0.003, "too small to show on a slice (0.003 ml)")],
)
def test_nothing_to_judge_is_reported_and_shown(segmenter, opened, volume_ml, reason):
    empty = replace(opened, mask=np.zeros_like(opened.mask), volume_ml=volume_ml)
    found, views = score_prediction(segmenter, empty, JITTER)
    assert found.status == "empty" and reason in found.reason
    assert found.similarity is found.predicted_iou is found.stability is None
    assert len(views) == 1 and views[0].pixels.any() and not views[0].prediction.any()


def test_a_prediction_is_opened_on_its_scans_slices(head, tmp_path):
    volume, blob = head
    write_volume(tmp_path / "scan.nii.gz", volume.array, volume.geometry)
    two = blob.copy()
    two[30, 40, 10] = True
    write_volume(tmp_path / "mask.nii.gz", two, volume.geometry)
    opened = open_prediction(
        "a", tmp_path / "scan.nii.gz", tmp_path / "mask.nii.gz", Settings().slices
    )
    assert opened.components == 2
    assert opened.volume_ml == pytest.approx(two.sum() * 0.008)
    bright = opened.stack.pixels > 200
    assert 2 * (bright & opened.mask).sum() / (bright.sum() + opened.mask.sum()) > 0.9


def test_another_grid_is_reported(head, tmp_path):
    volume, blob = head
    write_volume(tmp_path / "scan.nii.gz", volume.array, volume.geometry)
    moved = replace(volume.geometry, origin=(0.0, 0.0, 0.0))
    write_volume(tmp_path / "mask.nii.gz", blob, moved)
    with pytest.raises(ScanError, match="resample it"):
        open_prediction("a", tmp_path / "scan.nii.gz", tmp_path / "mask.nii.gz", Settings().slices)


def judged(case, *measures):
    return CaseQuality(case, "judged", "", None, None, *measures)


def test_a_weak_link_is_not_made_up_for():
    # Sure and stable, but of something else; each measure alone would not have this order.
    denied, middling = judged("denied", 0.1, 0.9, 1.0), judged("middling", 0.7, 0.6, 0.9)
    unsure, good = judged("unsure", 0.8, 0.2, 0.9), judged("good", 0.9, 0.8, 1.0)
    ranked = rank_cases([good, middling, denied, unsure])
    assert [c.case for c in ranked] == ["denied", "unsure", "middling", "good"]
    assert [c.rank for c in ranked] == [1, 2, 3, 4]
    assert [c.score for c in ranked] == pytest.approx([0.09, 0.144, 0.378, 0.72])


def test_an_estimate_out_of_range_is_cut():
    assert trust_score(judged("a", 0.5, 1.2, 1.0)) == 0.5
    assert trust_score(judged("a", 0.5, -0.1, 1.0)) == 0.0


def test_empty_is_worst_and_failed_has_no_rank():
    cases = [
        CaseQuality("failed", "failed", "why"),
        judged("worst", 0.1, 0.0, 0.1),
        judged("best", 0.9, 0.9, 1.0),
        CaseQuality("empty", "empty", "the prediction is empty"),
    ]
    ranked = rank_cases(cases)
    assert [(c.case, c.rank, c.score and round(c.score, 6)) for c in ranked] == [
        ("empty", 1, 0.0),
        ("worst", 2, 0.0),
        ("best", 3, 0.81),
        ("failed", None, None),
    ]
    assert rank_cases(cases[::-1]) == ranked


def test_views_are_the_largest_area_and_the_largest_difference():
    pixels = np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((6, 8, 8), np.uint8)
    mask, drawn = np.zeros(pixels.shape, bool), np.zeros(pixels.shape, bool)
    mask[2, :4] = drawn[2, :4] = mask[4, :2] = True
    views = representative_views(pixels, mask, drawn)
    assert [(v.title, v.pixels[0, 0]) for v in views] == [
        ("largest area", 2),
        ("largest difference", 4),
    ]
    assert views[1].prediction.any() and not views[1].answer.any()
    assert len(representative_views(pixels, mask, mask)) == 1


def test_slices_of_the_labels_go_above_new_ones(head, tmp_path):
    volume, blob = head
    core = volume.array > 0
    core[:, :30] = False
    for name, array in (("scan", volume.array), ("mask", blob), ("brain", core)):
        write_volume(tmp_path / f"{name}.nii.gz", array, volume.geometry)
    files = tmp_path / "scan.nii.gz", tmp_path / "mask.nii.gz"
    settings = replace(Settings().slices, plane_mm=8.0)
    brain = tmp_path / "brain.nii.gz"
    kept = DatasetSlices(tmp_path / "clisc", settings)
    expected = make_slices(volume, settings, core).pixels
    without = open_prediction("a", *files, settings, None, kept)
    assert not without.kept_slices and not np.array_equal(without.stack.pixels, expected)
    given = open_prediction("a", *files, settings, brain)
    assert np.array_equal(given.stack.pixels, expected) and not given.kept_slices
    cache = ResultCache(tmp_path / "clisc" / "stages")
    extract_into(cache, "a", files[0], settings, Fingerprint("scan", settings), brain)
    opened = open_prediction("a", *files, settings, None, kept)
    assert np.array_equal(opened.stack.pixels, expected) and opened.kept_slices
    assert np.array_equal(opened.mask, given.mask)
    assert opened.volume_ml == given.volume_ml
