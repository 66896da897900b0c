"""Train the bundled brain extractor on phantom heads, most of them with skull and scalp."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from clisc_nnunet.bundled.augmentation import AugmentSettings, step_rng
from clisc_nnunet.bundled.phantom_set import TrainingHead
from clisc_nnunet.metrics import dice
from clisc_nnunet.phantoms.random_fields import blur, smooth_noise
from clisc_nnunet.stages.brain_extraction import BRIGHTEST, apply_network

HEADS = 2
# Shape of a training crop in voxels (plane, row, column); larger than most heads.
CROP = (64, 72, 64)


def brain_step(
    module: torch.nn.Module, heads: Sequence[TrainingHead], seed: int, augment: AugmentSettings
) -> Callable[[int], tuple[torch.Tensor, dict[str, float]]]:
    """Step function for `training_loop.train`; its randomness depends on seed and step number."""

    def step(number: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = step_rng(seed, number)
        drawn = [heads[int(rng.integers(len(heads)))] for _ in range(HEADS)]
        pairs = zip(*(_augmented(head, augment, rng) for head in drawn), strict=True)
        images, brains = (torch.from_numpy(np.stack(part))[:, None] for part in pairs)
        logits = module(images)
        probability, over = logits.sigmoid(), (1, 2, 3, 4)
        overlap = (2 * (probability * brains).sum(over) + 100) / (
            probability.sum(over) + brains.sum(over) + 100
        )
        loss = F.binary_cross_entropy_with_logits(logits, brains) + (1 - overlap).mean()
        return loss, {"dice": float(overlap.detach().mean())}

    return step


def _augmented(
    head: TrainingHead, augment: AugmentSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Augment contrast, non-brain tissue and noise of a head; returns image and brain mask.

    Both are float32 of shape CROP.
    """
    image, brain = head.values.astype(np.float32) / 100, head.brain
    outside = (image > 0) & ~brain
    # Vary fat, muscle, marrow and eyes, whose brightness differs between real scans.
    texture = np.exp(
        rng.uniform(0, 0.5) * smooth_noise(image.shape, int(rng.integers(4, 12)), rng)
        + rng.uniform(0, 0.5) * smooth_noise(image.shape, int(rng.integers(12, 30)), rng)
    )
    image = np.where(outside, image * texture * np.exp(rng.normal(0, 0.3)), image)
    image = image ** np.exp(rng.uniform(-augment.gamma, augment.gamma))
    image = image * np.exp(rng.uniform(0, augment.bias_field) * smooth_noise(image.shape, 4, rng))
    image = image * rng.uniform(*augment.gain)
    if rng.random() < 0.4:
        image = blur(image, rng.uniform(0.3, augment.blur))
    if rng.random() < 0.6:
        noise = rng.uniform(0, augment.noise) * rng.standard_normal(image.shape, np.float32)
        # Background is noisy in raw scans, but not in skull-stripped ones.
        image = np.abs(image + noise) if rng.random() < 0.5 else image + noise * (image > 0)
    if rng.random() < 0.5:
        image, brain = np.flip(image, 2), np.flip(brain, 2)
    free = [max(length - size, 0) for length, size in zip(image.shape, CROP, strict=True)]
    start = [int(rng.integers(-4, space + 5)) for space in free]
    cut = [_window(array, start) for array in (np.clip(image, 0, BRIGHTEST), brain)]
    return cut[0], cut[1]


def _window(array: np.ndarray, start: Sequence[int]) -> np.ndarray:
    """Crop of shape CROP, float32; parts outside of the array are 0."""
    window = np.zeros(CROP, np.float32)
    into, out = [], []
    for first, length, size in zip(start, array.shape, CROP, strict=True):
        low, high = max(first, 0), min(first + size, length)
        out.append(slice(low, high))
        into.append(slice(low - first, high - first))
    window[tuple(into)] = array[tuple(out)]
    return window


@torch.inference_mode()
def brain_metrics(module: torch.nn.Module, heads: Sequence[TrainingHead]) -> dict[str, float]:
    """Mean and worst Dice of the brain on held-out heads."""
    scores = [
        dice(
            apply_network(module.eval(), head.values.astype(np.float32) / 100) > 0,
            head.brain,
            both_empty=1.0,
        )
        for head in heads
    ]
    return {"dice_brain": round(float(np.mean(scores)), 4), "worst": round(min(scores), 4)}
