from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis.extra.numpy import arrays

from clisc_nnunet.metrics import dice
from clisc_nnunet.models.sam import load_sam
from clisc_nnunet.s3f.similarity import (
    majority_vote,
    make_volume_segmenter,
    resegment,
    soft_vote,
)
from clisc_nnunet.settings import PRESETS, Settings
from clisc_nnunet.stages.sam.volume_segmenter import VolumeMasks
from clisc_nnunet.stages.slice_extraction import make_slices

masks = arrays(bool, (3, 4, 5))


@pytest.fixture(scope="module")
def sam():
    return load_sam("bundled", torch.device("cpu"))


@pytest.fixture
def seen(head):
    stack = make_slices(head[0], replace(Settings().slices, plane_mm=4.0))
    return stack, stack.pixels > 200


@pytest.mark.parametrize("looks", ["axial", "all"])
def test_sam_confirms_a_good_mask_and_not_a_bad_one(sam, seen, looks):
    stack, blob = seen
    segmenter = make_volume_segmenter(sam, Settings(), looks)
    good = resegment(segmenter, "case", stack, blob)
    elsewhere = np.roll(blob, -40, axis=1) & stack.brain
    bad = resegment(segmenter, "other", stack, elsewhere)
    # SAM draws round what is bright, which counts in a blob as small as this.
    assert dice(good.mask, blob) > 0.7
    assert dice(bad.mask, elsewhere) < 0.6
    assert good.predicted_iou > bad.predicted_iou
    assert not good.mask[~stack.brain].any()


class Drawing:
    """A segmenter that returns the same to everything."""

    def __init__(self, logits, iou):
        planes = np.flatnonzero((logits > 0).any(axis=(1, 2)))
        self.drawn = VolumeMasks(logits, planes, np.asarray(iou, np.float32))

    def segment(self, case, stack, region):
        self.asked = case, region
        return self.drawn


def test_an_answer_has_no_holes_and_stays_in_the_brain(seen):
    stack, blob = seen
    logits = np.full(blob.shape, -3.0, np.float32)
    middle = stack.brain.shape[0] // 2
    row, column = np.argwhere(stack.brain[middle]).mean(axis=0).astype(int)
    logits[middle, row - 5 : row + 5, column - 5 : column + 5] = 2.0
    whole = logits > 0
    logits[middle, row, column] = -1.0
    outside = np.argwhere(~stack.brain[middle])[0]
    logits[middle, outside[0], outside[1]] = 5.0
    before = logits.copy()
    segmenter = Drawing(logits, [0.25, 0.75])
    found = resegment(segmenter, "case", stack, blob)
    assert np.array_equal(found.mask, whole)
    assert found.predicted_iou == pytest.approx(0.5)
    assert segmenter.asked[0] == "case"
    assert np.array_equal(segmenter.asked[1], blob)
    assert np.array_equal(logits, before)


def test_an_empty_mask_has_an_empty_answer(sam, seen):
    stack, blob = seen
    found = resegment(
        make_volume_segmenter(sam, Settings(), "all"), "case", stack, np.zeros_like(blob)
    )
    assert not found.mask.any()
    assert np.isnan(found.predicted_iou)


def test_boxes_touch_the_mask_and_the_paper_has_one_pass(sam):
    segmenter = make_volume_segmenter(sam, PRESETS["default"], "axial")
    assert segmenter.prompts.margin == 0
    assert segmenter.settings.views == ("axial",)
    assert segmenter.settings.close_up == 0
    everything = make_volume_segmenter(sam, PRESETS["default"], "all")
    assert everything.settings == PRESETS["default"].sam


@given(masks, masks, masks)
def test_two_of_three_decide(first, second, third):
    agreed = majority_vote(first, second, third)
    assert agreed.dtype == bool
    assert np.array_equal(agreed, (first & second) | (first & third) | (second & third))


def test_a_soft_vote_follows_the_prediction_unless_label_and_sam_agree_against_it():
    label = np.zeros((9, 9, 9), bool)
    label[:, :, 5:] = True
    nothing, everything = np.zeros(label.shape), np.ones(label.shape)
    spacing = (3.0, 3.0, 3.0)
    assert soft_vote(label, nothing, nothing, spacing).max() <= 0.25
    assert soft_vote(label, everything, nothing, spacing).min() >= 0.5
    agreed = soft_vote(label, label.astype(float), label.astype(float), spacing)
    assert agreed.dtype == np.float32
    assert np.array_equal(agreed > 0.5, label)
    # Two against one: the prediction weighs as much as label and SAM together.
    against = soft_vote(label, nothing, label.astype(float), spacing)
    assert against.max() <= 0.5 + 1e-6


def test_the_outline_of_a_label_is_uncertain_by_millimetres_whatever_the_voxels():
    def outline_mm(shape, spacing):
        label = np.zeros(shape, bool)
        label[:, :, shape[2] // 2 :] = True
        zero = np.zeros(shape)
        share = 4 * soft_vote(label, zero, zero, spacing)[shape[0] // 2, shape[1] // 2]
        return ((share > 0.16) & (share < 0.84)).sum() * spacing[2]

    assert outline_mm((5, 5, 60), (3.0, 3.0, 0.5)) == pytest.approx(4.0, abs=0.5)
    assert outline_mm((5, 5, 60), (1.0, 1.0, 1.0)) == pytest.approx(4.0, abs=1.0)
