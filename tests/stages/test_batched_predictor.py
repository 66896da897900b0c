from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from segment_anything import SamPredictor

from clisc_nnunet.settings import PromptSettings, SamSettings
from clisc_nnunet.stages.sam.batched_predictor import decode, embed, equalise, segment
from clisc_nnunet.stages.sam.prompts import make_prompts


@pytest.fixture(params=[128, 96])
def slices(request):
    side = request.param
    rng = np.random.default_rng(1)
    noise = gaussian_filter(rng.normal(size=(5, side, side)), (0, 6, 6))
    pixels = (128 + 100 * noise / np.abs(noise).max()).astype(np.uint8)
    rois = np.zeros(pixels.shape, bool)
    for k, roi in enumerate(rois):
        roi[10 + 5 * k : 40 + 5 * k, 20 : 50 + 3 * k] = True
    return pixels, make_prompts(pixels, rois, PromptSettings())


def test_a_batch_equals_segment_anything_one_by_one(random_sam, slices):
    pixels, prompts = slices
    settings = SamSettings(batch=2)
    side = pixels.shape[-1]
    masks = segment(random_sam, embed(random_sam, pixels, settings), prompts, side, settings)
    predictor = SamPredictor(random_sam)
    for k, image in enumerate(pixels):
        predictor.set_image(np.repeat(image[:, :, None], 3, axis=2))
        logits, iou, _ = predictor.predict(
            prompts.points[k], prompts.labels[k], box=prompts.boxes[k],
            multimask_output=False, return_logits=True,
        )  # fmt: skip
        if side == 128:
            assert np.abs(masks.logits[k] - logits[0]).max() < 1e-4
            assert masks.predicted_iou[k] == pytest.approx(iou[0], abs=1e-4)
        else:  # here the library resizes images with PIL, and its masks twice: nearly the same
            assert np.corrcoef(masks.logits[k].ravel(), logits[0].ravel())[0, 1] > 0.98
            assert masks.predicted_iou[k] == pytest.approx(iou[0], abs=0.05)


def test_box_prompts_only(random_sam, slices):
    pixels, _ = slices
    side = pixels.shape[-1]
    settings = PromptSettings(positive_points=0, negative_corners=False)
    region = np.zeros(pixels.shape, bool)
    region[:, 20:60, 30:70] = True
    prompts = make_prompts(pixels, region, settings)
    assert prompts.points.shape == (5, 0, 2)
    embeddings = embed(random_sam, pixels, SamSettings())
    masks = segment(random_sam, embeddings, prompts, side, SamSettings())
    predictor = SamPredictor(random_sam)
    predictor.set_image(np.repeat(pixels[0][:, :, None], 3, axis=2))
    logits, _, _ = predictor.predict(
        box=prompts.boxes[0], multimask_output=False, return_logits=True
    )
    assert np.corrcoef(masks.logits[0].ravel(), logits[0].ravel())[0, 1] > 0.98


def test_half_precision_changes_little_and_returns_float32(random_sam, slices):
    pixels, _ = slices
    full = embed(random_sam, pixels, SamSettings(precision="fp32"))
    half = embed(random_sam, pixels, SamSettings(precision="bf16"))
    assert half.dtype == torch.float32
    assert 0 < (half - full).abs().max() < 0.1 * full.abs().max()


def test_mask_prompts_equal_segment_anything(random_sam):
    torch.manual_seed(1)
    n, size = 3, random_sam.prompt_encoder.mask_input_size[0]
    embeddings = torch.randn(n, 64, 16, 16)
    points, labels = torch.rand(n, 4, 2) * 128, torch.ones(n, 4, dtype=torch.int64)
    boxes, masks = torch.tensor([[5.0, 6.0, 70.0, 80.0]] * n), torch.randn(n, 1, size, size)
    logits, iou = decode(random_sam, embeddings, points, labels, boxes, masks)
    for k in range(n):
        one = slice(k, k + 1)
        sparse, dense = random_sam.prompt_encoder(
            (points[one], labels[one]), boxes[one], masks[one]
        )
        wanted, wanted_iou = random_sam.mask_decoder(
            embeddings[one], random_sam.prompt_encoder.get_dense_pe(), sparse, dense, False
        )
        assert torch.allclose(logits[one], wanted, atol=1e-4)
        assert torch.allclose(iou[one], wanted_iou[:, 0], atol=1e-4)


def test_no_slices_no_masks(random_sam, slices):
    _, prompts = slices
    masks = segment(random_sam, torch.zeros(0, 64, 16, 16), prompts[:0], 128, SamSettings())
    assert masks.logits.shape == (0, 128, 128)
    assert masks.predicted_iou.shape == (0,)


def test_slices_and_prompts_must_match(random_sam, slices):
    _, prompts = slices
    with pytest.raises(ValueError, match="4 slices, 5 prompts"):
        segment(random_sam, torch.zeros(4, 64, 16, 16), prompts, 128, SamSettings())


def test_equalisation_is_per_slice():
    pixels = np.stack([np.arange(256).reshape(16, 16) // 8, np.arange(256).reshape(16, 16)])
    spread = equalise(pixels.astype(np.uint8))
    assert spread.dtype == np.uint8
    assert spread[0].max() == spread[1].max() == 255


def test_without_boxes_only_points_are_used(random_sam, slices):
    pixels, prompts = slices
    side = pixels.shape[-1]
    if side != 128:
        pytest.skip("the library resizes other images by itself")
    settings = SamSettings(batch=2)
    embeddings = embed(random_sam, pixels, settings)
    bare = replace(prompts, use_boxes=False)
    masks = segment(random_sam, embeddings, bare, side, settings)
    predictor = SamPredictor(random_sam)
    for k, image in enumerate(pixels):
        predictor.set_image(np.repeat(image[:, :, None], 3, axis=2))
        logits, _, _ = predictor.predict(
            prompts.points[k], prompts.labels[k], multimask_output=False, return_logits=True
        )
        assert np.abs(masks.logits[k] - logits[0]).max() < 1e-4
    boxed = segment(random_sam, embeddings, prompts, side, settings)
    assert not np.allclose(masks.logits, boxed.logits)
