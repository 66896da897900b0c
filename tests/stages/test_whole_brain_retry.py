"""The whole-brain retry is used only if its predicted IoU is clearly higher."""

from types import SimpleNamespace

import numpy as np
import pytest

from clisc_nnunet.stages.sam.volume_segmenter import (
    BETTER_BY,
    VolumeMasks,
    mean_predicted_iou,
    whole_brain_retry,
)

SHAPE = (4, 6, 6)


def masks(*ious):
    """Masks on the first planes, with these predicted IoUs."""
    logits = np.full(SHAPE, -5.0, np.float32)
    logits[: len(ious), 2:4, 2:4] = 5
    return VolumeMasks(logits, np.arange(len(ious)), np.array(ious, np.float32))


@pytest.fixture
def seen():
    """Brain on all planes, and a region on two of them."""
    brain = np.zeros(SHAPE, bool)
    brain[:, 1:5, 1:5] = True
    region = np.zeros(SHAPE, bool)
    region[1:3, 2, 2] = True
    return SimpleNamespace(brain=brain, pixels=np.zeros(SHAPE, np.uint8)), region


class Sam:
    """A segmenter with a fixed result that records the region."""

    def __init__(self, answer):
        self.answer = answer

    def segment(self, case, stack, region):
        self.region = region
        return self.answer


def test_predicted_iou_is_averaged_over_planes_with_a_mask():
    assert mean_predicted_iou(masks(0.5, 0.9)) == pytest.approx(0.7)
    assert mean_predicted_iou(masks()) == 0


def test_sam_is_prompted_by_the_brain_in_the_planes_of_the_region(seen):
    stack, region = seen
    sam = Sam(masks(0.9))
    assert whole_brain_retry(sam, "case", stack, region, masks(0.5)) is sam.answer
    assert np.array_equal(sam.region[1:3], stack.brain[1:3])
    assert not sam.region[[0, 3]].any()


def test_a_slightly_higher_predicted_iou_is_not_enough(seen):
    stack, region = seen
    for iou, counts in ((0.6 + BETTER_BY - 0.02, False), (0.6 + BETTER_BY + 0.02, True)):
        found = whole_brain_retry(Sam(masks(iou)), "case", stack, region, masks(0.6))
        assert (found is not None) == counts
    assert whole_brain_retry(Sam(masks()), "case", stack, region, masks(0.6)) is None
