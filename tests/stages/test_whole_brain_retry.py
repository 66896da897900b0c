"""A second opinion counts only where it is clearly the better one."""

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


def drawn(*ious):
    """Masks on the first planes, rated so."""
    logits = np.full(SHAPE, -5.0, np.float32)
    logits[: len(ious), 2:4, 2:4] = 5
    return VolumeMasks(logits, np.arange(len(ious)), np.array(ious, np.float32))


@pytest.fixture
def seen():
    """Brain on all planes but their rim, and a region on two of them."""
    brain = np.zeros(SHAPE, bool)
    brain[:, 1:5, 1:5] = True
    region = np.zeros(SHAPE, bool)
    region[1:3, 2, 2] = True
    return SimpleNamespace(brain=brain, pixels=np.zeros(SHAPE, np.uint8)), region


class Sam:
    """A draughtsman that answers the same to anything, and remembers the hint."""

    def __init__(self, answer):
        self.answer = answer

    def segment(self, case, stack, region):
        self.hint = region
        return self.answer


def test_a_rating_is_the_mean_over_the_planes_that_have_a_mask():
    assert mean_predicted_iou(drawn(0.5, 0.9)) == pytest.approx(0.7)
    assert mean_predicted_iou(drawn()) == 0


def test_sam_is_asked_about_the_whole_brain_of_the_regions_planes(seen):
    stack, region = seen
    sam = Sam(drawn(0.9))
    assert whole_brain_retry(sam, "case", stack, region, drawn(0.5)) is sam.answer
    assert np.array_equal(sam.hint[1:3], stack.brain[1:3])
    assert not sam.hint[[0, 3]].any()


def test_an_answer_that_is_hardly_surer_changes_nothing(seen):
    stack, region = seen
    for iou, counts in ((0.6 + BETTER_BY - 0.02, False), (0.6 + BETTER_BY + 0.02, True)):
        found = whole_brain_retry(Sam(drawn(iou)), "case", stack, region, drawn(0.6))
        assert (found is not None) == counts
    assert whole_brain_retry(Sam(drawn()), "case", stack, region, drawn(0.6)) is None
