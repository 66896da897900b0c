"""Tumour mimics: bright structures in FLAIR that are not labelled as tumour."""

from __future__ import annotations

import numpy as np

from clisc_nnunet.phantoms.random_fields import blur, smooth_noise, step
from clisc_nnunet.phantoms.settings import ContrastSettings


def add_mimics(
    image: np.ndarray,
    tissues: np.ndarray,
    brain: np.ndarray,
    settings: ContrastSettings,
    rng: np.random.Generator,
) -> np.ndarray:
    """Randomly add periventricular rims, white-matter lesions, bright edges and bright cortex.

    Parameters
    ----------
    image : float32 ndarray of shape (plane, row, column)
        Intensities; white matter is about 1.
    tissues : float32 ndarray of shape (tissue, plane, row, column)
    brain : bool ndarray of shape (plane, row, column)
    settings : ContrastSettings
    rng : numpy.random.Generator

    Returns
    -------
    float32 ndarray of shape (plane, row, column)
    """
    ventricle, _, grey, white = tissues[:4]
    shape = image.shape
    if rng.random() < settings.periventricular_rim:
        near = np.clip(2 * blur(ventricle, rng.uniform(0.8, 2.2)), 0, 1)
        patchy = 0.5 + 0.5 * step(3 * smooth_noise(shape, 9, rng))
        image = image + rng.uniform(0.1, 0.75) * near * white * patchy
    if rng.random() < settings.white_matter_lesions:
        near = blur(ventricle, 5.0) > 0.02
        spots = smooth_noise(shape, int(rng.integers(14, 28)), rng) + 0.9 * near - 0.3
        image = image + rng.uniform(0.2, 0.8) * step(spots - rng.uniform(1.4, 2.4), 0.125) * white
    inside = blur(brain, 1.2)
    edge = np.clip(2 * (1 - inside), 0, 1) * brain
    if rng.random() < settings.bright_edge:
        patches = step(smooth_noise(shape, 10, rng) - rng.uniform(0.3, 1.5), 0.25)
        image = image + rng.uniform(0.1, 1.2) * edge * patches
    if rng.random() < 0.4:
        image = image * (1 - rng.uniform(0, 0.5) * edge)
    if rng.random() < settings.bright_cortex:
        patches = step(smooth_noise(shape, 7, rng) - rng.uniform(0.5, 1.5), 0.25)
        image = image + rng.uniform(0.05, 0.3) * grey * patches
    return image.astype(np.float32)
