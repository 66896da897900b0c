"""Train the bundled SAM with corrupted prompts, and a second pass prompted by its first mask.

Prompts only give the location, so the image encoder must know what tumours look like. An auxiliary
patch head, which is not shipped, supervises it directly rather than through the decoder.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from segment_anything.modeling import Sam
from torch import nn

from clisc_nnunet.bundled.augmentation import AugmentSettings, augmented_batch, step_rng
from clisc_nnunet.bundled.prompt_noise import NOT_A_POINT, corrupted_prompt
from clisc_nnunet.bundled.slice_sampler import SliceSampler
from clisc_nnunet.stages.sam.batched_predictor import decode
from clisc_nnunet.stages.sam.prompts import box_prompt

SLICES, PROMPTS_EACH = 12, 2
TUMOUR_SHARE = 0.82


class PromptedNet(nn.Module):
    """SAM with an auxiliary patch head on its image embedding."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.sam = sam
        self.patch_head = nn.Conv2d(sam.prompt_encoder.embed_dim, 1, 1)


def sam_step(
    module: PromptedNet, sampler: SliceSampler, seed: int, augment: AugmentSettings
) -> Callable[[int], tuple[torch.Tensor, dict[str, float]]]:
    """Step function for `training_loop.train`; its randomness depends on seed and step number."""
    sam = module.sam

    def step(number: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = step_rng(seed, number)
        images, masks = augmented_batch(sampler, SLICES, TUMOUR_SHARE, augment, rng)

        pixels = (images[:, 0] * 255).round().byte().numpy()
        tumour, neighbour = masks[:, 0].bool().numpy(), masks[:, 1].bool().numpy()
        prompts = [
            corrupted_prompt(pixels[i], tumour[i], rng)
            for i in range(SLICES)
            for _ in range(PROMPTS_EACH)
        ]
        boxes, points, labels, targets = (np.stack(part) for part in zip(*prompts, strict=True))
        labels[rng.random(len(labels)) < 0.3] = NOT_A_POINT  # boxes must work without points, too
        target = torch.from_numpy(targets)[:, None].float()

        inputs = (images * 255).expand(-1, 3, -1, -1)
        embeddings = sam.image_encoder((inputs - sam.pixel_mean) / sam.pixel_std)
        share = F.adaptive_avg_pool2d(masks[:, :1], embeddings.shape[-2:])
        patch_loss = F.binary_cross_entropy_with_logits(module.patch_head(embeddings), share)
        embeddings = embeddings.repeat_interleave(PROMPTS_EACH, dim=0)
        first, first_iou = decode(sam, embeddings, *_tensors(points, labels, boxes))
        loss, dice = mask_loss(first, first_iou, target)

        second = _second_prompts(first.detach(), boxes, labels, targets, tumour, neighbour, rng)
        boxes, labels, earlier, targets = second
        again, again_iou = decode(sam, embeddings, *_tensors(points, labels, boxes), earlier)
        second_loss, second_dice = mask_loss(
            again, again_iou, torch.from_numpy(targets)[:, None].float()
        )
        metrics = {
            "dice": dice,
            "second_dice": second_dice,
            "patch_loss": float(patch_loss.detach()),
        }
        return loss + second_loss + 2 * patch_loss, metrics

    return step


def mask_loss(
    logits: torch.Tensor, predicted_iou: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, float]:
    """Cross-entropy and Dice of the mask, plus the squared error of the predicted IoU.

    Parameters
    ----------
    logits : Tensor of shape (n, 1, h, w)
        At the decoder's resolution.
    predicted_iou : Tensor of shape (n,)
    target : float Tensor of shape (n, 1, side, side)

    Returns
    -------
    loss : Tensor, dice : float
        Mean soft Dice over prompts with a non-empty target.
    """
    full = F.interpolate(logits, target.shape[-2:], mode="bilinear", align_corners=False)
    probability = full.sigmoid()
    over = (1, 2, 3)
    cross_entropy = F.binary_cross_entropy_with_logits(full, target)
    # The constant rewards empty masks for empty targets.
    dice = (2 * (probability * target).sum(over) + 20) / (
        probability.sum(over) + target.sum(over) + 20
    )
    with torch.no_grad():
        mask = full > 0
        both, either = mask & target.bool(), mask | target.bool()
        iou = both.sum(over) / either.sum(over).clamp(min=1)
    loss = 6 * cross_entropy + (1 - dice).mean() + 0.5 * ((predicted_iou - iou) ** 2).mean()
    meets = target.sum(over) > 0
    return loss, float(dice[meets].detach().mean()) if meets.any() else 1.0


def _second_prompts(
    first: torch.Tensor,
    boxes: np.ndarray,
    labels: np.ndarray,
    targets: np.ndarray,
    tumour: np.ndarray,
    neighbour: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, torch.Tensor, np.ndarray]:
    """Prompts of the second pass: from the first mask, or the true mask of a nearby plane."""
    boxes, labels, targets = boxes.copy(), labels.copy(), targets.copy()
    earlier = first.clone()
    side = tumour.shape[-1]
    masks = F.interpolate(first, (side, side), mode="bilinear", align_corners=False)[:, 0] > 0
    sources = masks.numpy()
    for index in range(len(boxes)):
        source, beside = sources[index], neighbour[index // PROMPTS_EACH]
        if rng.random() < 0.3 and beside.any():
            source = beside
            small = F.adaptive_avg_pool2d(
                torch.from_numpy(beside)[None].float(), (first.shape[-2], first.shape[-1])
            )
            earlier[index] = (small - 0.5) * rng.uniform(6, 20)
            targets[index] = tumour[index // PROMPTS_EACH]
        if rng.random() < 0.6 and source.sum() > 10:
            box = box_prompt(source, 0) + rng.uniform(0, 7, 4) * [-1, -1, 1, 1]
            boxes[index] = np.clip(box, 0, side - 1)
    labels[rng.random(len(labels)) < 0.4] = NOT_A_POINT
    return boxes, labels, earlier, targets


def _tensors(
    points: np.ndarray, labels: np.ndarray, boxes: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.from_numpy(points), torch.from_numpy(labels), torch.from_numpy(boxes)
