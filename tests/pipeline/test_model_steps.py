"""Stages 5, 6, 9 and 10 on a case; the classifier is untrained."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.cases import make_config

from clisc_nnunet.metrics import dice
from clisc_nnunet.models.backbones import TinyBackboneConfig, build_tiny_backbone
from clisc_nnunet.models.slice_classifier import SliceClassifier
from clisc_nnunet.pipeline import model_steps
from clisc_nnunet.pipeline.config import CaseInput
from clisc_nnunet.pipeline.model_steps import CamChoice, TrainedClassifier, find_region, segment
from clisc_nnunet.pipeline.result_cache import ResultCache
from clisc_nnunet.pipeline.serialization import pack_region, pack_stack, unpack_region
from clisc_nnunet.settings import PseudoLabelSettings, SamSettings, SliceSettings
from clisc_nnunet.stages.sam.volume_segmenter import VolumeMasks
from clisc_nnunet.stages.slice_extraction import make_slices

CASE = CaseInput("case", "scan.nii.gz")
RAW = TrainedClassifier("raw", "signature")


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A function that makes a run's configuration; its classifier has random weights."""

    def make(**changes):
        return make_config(ResultCache(tmp_path / "stages"), **changes)

    torch.manual_seed(0)
    classifier = SliceClassifier(make().models.backbone).eval()
    assert build_tiny_backbone(TinyBackboneConfig())
    monkeypatch.setattr(model_steps, "load_trained", lambda *_: classifier)
    return make


@pytest.fixture
def seen(head):
    """Slices of the head, and a coarse region round its blob."""
    stack = make_slices(head[0], replace(SliceSettings(), plane_mm=2.0))
    region = np.zeros(stack.pixels.shape, bool)
    planes, rows, columns = np.nonzero(stack.pixels > 200)
    region[
        planes.min() + 2 : planes.max() - 1, rows.min() : rows.max(), columns.min() : columns.max()
    ] = True
    return stack, region, stack.pixels > 200


def masks_of(config, stack, region):
    return segment(config, CASE, pack_stack(stack), {"roi": pack_region(region)})


def test_masks_are_kept_plane_by_plane(config, seen):
    stack, region, blob = seen
    found = masks_of(config(), stack, region)
    mask = np.zeros(blob.shape, bool)
    mask[found["planes"]] = found["logits"] > 0
    assert dice(mask, blob) > 0.6
    lengths = {len(found[key]) for key in ("planes", "logits", "predicted_iou", "agreement")}
    assert len(lengths) == 1


def test_no_region_no_masks(config, seen):
    stack, region, _ = seen
    assert len(masks_of(config(), stack, np.zeros_like(region))["planes"]) == 0


@pytest.mark.parametrize(
    ("sure", "enough", "asked"), [(1.0, 0.0, True), (0.0, 0.0, False), (1.0, 1.0, False)]
)
def test_an_unsure_case_that_gets_a_label_is_segmented_once_more(
    config, seen, monkeypatch, sure, enough, asked
):
    stack, region, _ = seen
    other = VolumeMasks(
        np.full(region.shape, 3, np.float32), np.array([5]), np.array([0.9], np.float32)
    )
    monkeypatch.setattr(model_steps, "whole_brain_retry", lambda *_: other)
    settings = {
        "sam": SamSettings(views=("axial",), close_up=0.0, second_opinion=sure),
        "pseudo_label": PseudoLabelSettings(min_case_iou=enough),
    }
    found = masks_of(config(**settings), stack, region)
    assert found["second_opinion"] == asked
    assert (found["planes"].tolist() == [5]) == asked


def test_the_region_is_that_of_the_kept_cam(config, seen):
    stack, _, _ = seen
    found = find_region(
        config(), CASE, pack_stack(stack), classifier=RAW, chosen=CamChoice("layer2", 0.3)
    )
    region = unpack_region(found["roi"], stack.pixels.shape)
    assert found["cam"].dtype == np.uint8 and len(found["cam"]) == len(found["planes"])
    assert len(found["probability"]) == len(stack.planes_with_brain)
    assert set(np.flatnonzero(region.any(axis=(1, 2)))) <= set(found["planes"].tolist()) | {
        plane + 1 for plane in found["planes"].tolist()
    }
