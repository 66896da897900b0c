from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clisc_nnunet.models.sam import load_sam
from clisc_nnunet.quality_control.prompt_stability import (
    JitterSettings,
    jittered,
    mean_overlap,
    stability,
)
from clisc_nnunet.s3f.similarity import make_volume_segmenter
from clisc_nnunet.settings import PromptSettings, Settings
from clisc_nnunet.stages.sam.prompts import make_prompts
from clisc_nnunet.stages.sam.prompts_and_masks import Prompts
from clisc_nnunet.stages.slice_extraction import make_slices

SIDE = 64


@pytest.fixture(scope="module")
def sam():
    return load_sam("bundled", torch.device("cpu"))


@pytest.fixture
def seen(head):
    stack = make_slices(head[0], replace(Settings().slices, plane_mm=8.0))
    return stack, stack.pixels > 200


def prompts_of(*blocks):
    masks = np.zeros((len(blocks), SIDE, SIDE), bool)
    for mask, block in zip(masks, blocks, strict=True):
        mask[block] = True
    return make_prompts(np.full(masks.shape, 100, np.uint8), masks, PromptSettings(margin=0))


WIDE = np.s_[20:31, 10:51]


def test_boxes_move_by_no_more_than_their_share():
    prompts = prompts_of(WIDE)
    widths = []
    for seed in range(50):
        box = jittered(prompts, 0.1, SIDE, np.random.default_rng(seed)).boxes[0]
        # Sides of 40 and 10: the centre moves by a tenth at most, the half side changes by one.
        assert np.abs(box - [10, 20, 50, 30]).max() <= 4 + 2
        assert abs(box[[1, 3]].mean() - 25) <= 1
        widths.append(box[2] - box[0])
    assert 36 <= min(widths) < 38 and 42 < max(widths) <= 44


@pytest.mark.parametrize("use_boxes", [False, True])
def test_what_sam_sees_stays_as_it_is_set(use_boxes):
    prompts = replace(prompts_of(WIDE), use_boxes=use_boxes)
    assert jittered(prompts, 0.1, SIDE, np.random.default_rng(0)).use_boxes == use_boxes


def test_points_move_with_their_box():
    prompts = prompts_of(WIDE)
    moved = jittered(prompts, 0.1, SIDE, np.random.default_rng(0))
    scale = (moved.boxes[0, 2] - moved.boxes[0, 0]) / 40
    expected = moved.boxes[0, :2] + (prompts.points[0] - [10, 20]) * scale
    np.testing.assert_allclose(moved.points[0], expected, atol=1e-4)
    assert np.array_equal(moved.labels, prompts.labels)
    assert moved.boxes.dtype == moved.points.dtype == np.float32


def test_slices_are_moved_each_by_itself():
    moved = jittered(prompts_of(WIDE, WIDE), 0.1, SIDE, np.random.default_rng(0))
    assert not np.allclose(moved.boxes[0], moved.boxes[1])


@given(st.integers(0, 1000), st.floats(0.01, 0.9))
def test_prompts_stay_on_the_slice(seed, amount):
    prompts = prompts_of(np.s_[0:3, 0:64], np.s_[63:64, 63:64])
    moved = jittered(prompts, amount, SIDE, np.random.default_rng(seed))
    for values in (moved.boxes, moved.points):
        assert values.min() >= 0 and values.max() <= SIDE - 1
    assert (moved.boxes[:, 2:] >= moved.boxes[:, :2]).all()


def test_no_prompts_are_no_trouble():
    none = Prompts(np.zeros((0, 4)), np.zeros((0, 9, 2)), np.zeros((0, 9), int))
    assert len(jittered(none, 0.1, SIDE, np.random.default_rng(0))) == 0


def test_overlap_of_all_pairs():
    one, two = np.array([1, 1, 0], bool), np.array([0, 1, 1], bool)
    assert mean_overlap([one, one]) == 1
    # Pairs: one-one 1, one-two twice 0.5.
    assert mean_overlap([one, one, two]) == pytest.approx(2 / 3)


def test_a_bright_blob_is_stable_and_nothing_is_not(sam, seen):
    stack, blob = seen
    segmenter = make_volume_segmenter(sam, Settings(), "axial")
    sure = stability(segmenter, "a", stack, blob, JitterSettings())
    assert 0.8 < sure < 1
    # A prompt on plain brain, where there is no outline to hold on to.
    plain = np.roll(blob, -30, axis=1) & stack.brain
    assert stability(segmenter, "b", stack, plain, JitterSettings(amount=0.2)) < sure


def test_seed_and_case_decide_and_nothing_else(sam, seen):
    stack, blob = seen
    segmenter = make_volume_segmenter(sam, Settings(), "axial")
    settings = JitterSettings(repeats=2, amount=0.5)
    first = stability(segmenter, "a", stack, blob, settings)
    other = stability(segmenter, "b", stack, blob, settings)
    assert stability(segmenter, "a", stack, blob, settings) == first != other
    assert stability(segmenter, "a", stack, blob, replace(settings, seed=1)) != first


def test_a_sam_that_draws_nothing_is_not_called_stable(sam, seen, monkeypatch):
    from clisc_nnunet.quality_control import prompt_stability as module
    from clisc_nnunet.stages.sam.prompts_and_masks import Masks

    stack, blob = seen

    def nothing(model, embeddings, prompts, side, settings):
        return Masks(np.full((len(prompts), side, side), -1.0), np.zeros(len(prompts)))

    monkeypatch.setattr(module.batched_predictor, "segment", nothing)
    segmenter = make_volume_segmenter(sam, Settings(), "axial")
    assert stability(segmenter, "a", stack, blob, JitterSettings()) == 0
