from dataclasses import replace

import numpy as np
import pytest
import torch

from clisc_nnunet.metrics import dice
from clisc_nnunet.models.sam import load_sam
from clisc_nnunet.settings import PromptSettings, SamSettings, SliceSettings
from clisc_nnunet.stages.sam.embedding_cache import EmbeddingCache
from clisc_nnunet.stages.sam.volume_segmenter import VolumeSegmenter
from clisc_nnunet.stages.slice_extraction import make_slices

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model():
    return load_sam("bundled", CPU)


@pytest.fixture
def segment(model):
    def make(stack, region, **changes):
        settings = SamSettings(**changes)
        cache = EmbeddingCache(model, settings)
        return VolumeSegmenter(model, PromptSettings(), settings, cache).segment(
            "case", stack, region
        )

    return make


@pytest.fixture
def seen(head):
    """Slices of the head, a coarse region inside its blob, and the blob."""
    stack = make_slices(head[0], replace(SliceSettings(), plane_mm=2.0))
    region = np.zeros(stack.pixels.shape, bool)
    places = np.argwhere(stack.pixels > 200)
    (z0, y0, x0), (z1, y1, x1) = places.min(axis=0), places.max(axis=0)
    region[z0 + 2 : z1 - 1, y0:y1, x0:x1] = True
    return stack, region, stack.pixels > 200


@pytest.mark.parametrize("close_up", [0.0, 1.5])
@pytest.mark.parametrize("views", [("axial",), ("axial", "coronal", "sagittal")])
def test_every_pass_segments_the_blob(segment, seen, views, close_up):
    stack, region, blob = seen
    masks = segment(stack, region, views=views, close_up=close_up)
    assert masks.logits.shape == blob.shape
    assert dice(masks.logits > 0, blob) > 0.6
    assert set(np.flatnonzero((masks.logits > 0).any(axis=(1, 2)))) <= set(masks.planes)
    assert len(masks.predicted_iou) == len(masks.planes)


def test_a_close_up_keeps_the_position(segment, seen):
    stack, region, blob = seen
    masks = segment(stack, region, views=("axial",), close_up=2.5)
    centre, found = (np.argwhere(mask).mean(axis=0) for mask in (blob, masks.logits > 0))
    assert np.abs(centre - found).max() < 2


def test_thick_planes_are_segmented_in_the_axial_view_only(segment, head):
    stack = make_slices(head[0], replace(SliceSettings(), plane_mm=6.0))
    region = stack.pixels > 200
    three, one = (segment(stack, region, views=v) for v in (("axial", "coronal"), ("axial",)))
    assert np.array_equal(three.logits, one.logits)


def test_masks_with_a_low_predicted_iou_are_dropped(segment, seen):
    stack, region, _ = seen
    masks = segment(stack, region, views=("axial",), min_predicted_iou=1.5)
    assert not (masks.logits > 0).any()


def test_no_region_no_mask(segment, seen):
    stack, region, _ = seen
    masks = segment(stack, np.zeros_like(region))
    assert len(masks.planes) == len(masks.predicted_iou) == 0
    assert not (masks.logits > 0).any()
