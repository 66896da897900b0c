"""Augmented batches of training slices; the seed and the step's number decide all of it."""

from __future__ import annotations

import numpy as np
import torch

from clisc_nnunet.bundled.augment import AugmentSettings, random_affine, random_intensity
from clisc_nnunet.bundled.slice_sampler import SliceSampler


def step_rng(seed: int, number: int) -> np.random.Generator:
    """Randomness of one step, so that a continued training sees what an unbroken one would."""
    return np.random.default_rng([seed, number])


def augmented_batch(
    sampler: SliceSampler,
    count: int,
    tumour_share: float,
    augment: AugmentSettings,
    rng: np.random.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw slices and augment them.

    Returns
    -------
    images : float32 Tensor of shape (count, 1, side, side)
        Grey values in 0..1.
    masks : float32 Tensor of shape (count, 2, side, side)
        Tumour on the slice, and on a plane nearby.
    """
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    batch = sampler.draw(count, tumour_share, rng)
    images = torch.from_numpy(batch.pixels)[:, None].float() / 255
    masks = torch.from_numpy(np.stack([batch.tumour, batch.neighbour], axis=1)).float()
    images, masks = random_affine(images, masks, augment, generator)
    return random_intensity(images, augment, generator), masks
