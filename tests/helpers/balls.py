"""Synthetic training volumes: brains with or without a bright ball, heads with skull and scalp."""

import numpy as np

from clisc_nnunet.bundled.phantom_set import TrainingHead, TrainingVolume

TUMOUR_GREY = 220


def ball_volume(index: int, tumour: bool) -> TrainingVolume:
    """A noisy ellipsoid of 60 planes; the position of the ball depends on the index."""
    plane, row, column = np.indices((60, 128, 100))
    brain = ((plane - 30) / 28) ** 2 + ((row - 64) / 50) ** 2 + ((column - 50) / 45) ** 2 < 1
    rng = np.random.default_rng(index)
    pixels = np.where(brain, rng.integers(80, 110, brain.shape), 0).astype(np.uint8)
    ball = (plane - 30) ** 2 + (row - 50) ** 2 + (column - 40 - 5 * index) ** 2 < 15**2
    shown = ball & brain & tumour
    pixels[shown] = TUMOUR_GREY
    return TrainingVolume(pixels, shown)


def ball_head(index: int) -> TrainingHead:
    """Brain within dark skull and bright scalp; its size depends on the index."""
    distance = np.sqrt(sum((np.indices((40, 50, 44)) - 21.5) ** 2))
    radius = 14 + index
    layers = [distance < radius, distance < radius + 2, distance < radius + 5]
    values = np.select(layers, [90, 20, 130], 0).astype(np.uint8)
    return TrainingHead(values, layers[0])
