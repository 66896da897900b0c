from dataclasses import replace

import numpy as np
import pytest
import torch

from clisc_nnunet.errors import UserError
from clisc_nnunet.models.backbones import Backbone, TinyBackboneConfig, build_tiny_backbone
from clisc_nnunet.models.model_set import Models
from clisc_nnunet.models.sam import SamModel, load_sam
from clisc_nnunet.models.slice_classifier import SliceClassifier
from clisc_nnunet.pipeline import model_steps
from clisc_nnunet.pipeline.model_steps import RegionFinder
from clisc_nnunet.settings import (
    CamSettings,
    PseudoLabelSettings,
    RoiSettings,
    SamSettings,
    Settings,
    SliceSettings,
)
from clisc_nnunet.stages.cam_selection import Sample, candidates, spread
from clisc_nnunet.stages.sam.embedding_cache import EmbeddingCache
from clisc_nnunet.stages.sam.volume_segmenter import VolumeMasks, VolumeSegmenter
from clisc_nnunet.stages.slice_extraction import make_slices

CPU = torch.device("cpu")


@pytest.fixture
def finder():
    def make(**changes):
        settings = replace(Settings(), **changes)
        torch.manual_seed(0)
        layers = ("layer1", "layer2", "layer3", "layer4")
        half = (0.5, 0.5, 0.5)
        module = build_tiny_backbone(TinyBackboneConfig())
        backbone = Backbone(module, 128, layers, 128, half, half, "tiny", "")
        sam = load_sam("bundled", CPU)
        models = Models(None, SamModel(sam.sam, "bundled", ""), backbone)
        cache = EmbeddingCache(models.sam, settings.sam)
        segmenter = VolumeSegmenter(models.sam, settings.prompts, settings.sam, cache)
        return RegionFinder(SliceClassifier(backbone).eval(), models, settings, segmenter, CPU)

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


def dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def test_what_sam_draws_is_kept_plane_by_plane(finder, seen):
    stack, region, blob = seen
    drawn = finder().draw("case", stack, region)
    mask = np.zeros(blob.shape, bool)
    mask[drawn["planes"]] = drawn["logits"] > 0
    assert dice(mask, blob) > 0.6
    lengths = {len(drawn[key]) for key in ("planes", "logits", "predicted_iou", "agreement")}
    assert len(lengths) == 1


def test_no_region_no_masks(finder, seen):
    stack, region, _ = seen
    assert len(finder().draw("case", stack, np.zeros_like(region))["planes"]) == 0


@pytest.mark.parametrize(
    ("sure", "enough", "asked"), [(1.0, 0.0, True), (0.0, 0.0, False), (1.0, 1.0, False)]
)
def test_an_unsure_case_that_gets_a_label_is_drawn_once_more(
    finder, seen, monkeypatch, sure, enough, asked
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
    drawn = finder(**settings).draw("case", stack, region)
    assert drawn["second_opinion"] == asked
    assert (drawn["planes"].tolist() == [5]) == asked


def test_every_layer_and_threshold_is_tried_unless_set(finder, seen):
    stack, _, blob = seen
    some = finder(roi=RoiSettings(candidates=(0.2, 0.4)))
    layers, thresholds = some.candidates()
    samples = [Sample("case", stack, np.flatnonzero(blob.any(axis=(1, 2)))[::4])]
    trials = some.trials(samples, layers[:2], thresholds)
    assert [(t.layer, t.threshold) for t in trials] == [
        ("layer1", 0.2), ("layer1", 0.4), ("layer2", 0.2), ("layer2", 0.4),
    ]  # fmt: skip
    assert finder(roi=RoiSettings(threshold=0.3)).candidates()[1] == [0.3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cam": CamSettings(layer="layer9")}, "cam.layer: found layer9; expected some of a, b"),
        ({"cam": CamSettings(candidates=("layer9",))}, "cam.candidates: found layer9"),
        ({"cam": CamSettings(candidates=())}, "cam.candidates: found none"),
        (
            {"cam": CamSettings("a"), "roi": RoiSettings(candidates=())},
            "roi.candidates: found none",
        ),
    ],
)
def test_there_must_be_something_to_choose_from(settings, message):
    with pytest.raises(UserError, match=message):
        candidates(Settings(**settings), ["a", "b"])


def test_spread_is_even_and_keeps_the_ends():
    assert spread(np.arange(100), 3).tolist() == [0, 50, 99]
    assert spread(np.arange(2), 8).tolist() == [0, 1]
    assert spread(np.arange(0), 8).tolist() == []
