"""Slices with and without a bright square, and a backbone small enough for fast training."""

import numpy as np
import torch

from clisc_nnunet.models.backbones import (
    HALF,
    LAYERS,
    Backbone,
    TinyBackboneConfig,
    build_tiny_backbone,
)

SIDE = 48


def small_backbone() -> Backbone:
    """The bundled backbone's architecture with random weights, a tenth as wide."""
    config = TinyBackboneConfig(SIDE, stem_width=4, channels=(8, 12, 16, 24))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build_tiny_backbone(config)
    return Backbone(module, config.channels[-1], LAYERS, SIDE, HALF, HALF, "small", "0" * 64)


def squares(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noisy discs, every second one with a bright square.

    Returns
    -------
    slices : uint8 ndarray of shape (count, SIDE, SIDE)
    labels : int ndarray of shape (count,)
    shown : bool ndarray of shape (count, SIDE, SIDE)
        Where the squares are.
    """
    rng = np.random.default_rng(seed)
    row, column = np.indices((SIDE, SIDE)) - SIDE / 2
    disc = np.hypot(row, column) < 0.45 * SIDE
    slices = np.where(disc, rng.integers(60, 120, (count, SIDE, SIDE)), 0)
    labels = np.arange(count) % 2
    shown = np.zeros(slices.shape, bool)
    for index in np.flatnonzero(labels):
        top, left = rng.integers(12, 24, 2)
        shown[index, top : top + 12, left : left + 12] = True
    slices[shown] += 100
    return slices.astype(np.uint8), labels, shown
