"""Made-up training volumes: brains with or without a bright ball."""

import numpy as np

from clisc_nnunet.bundled.phantom_set import TrainingVolume

TUMOUR_GREY = 220


def ball_volume(index: int, tumour: bool) -> TrainingVolume:
    """A noisy ellipsoid of 60 planes; the ball's place depends on the index."""
    plane, row, column = np.indices((60, 128, 100))
    brain = ((plane - 30) / 28) ** 2 + ((row - 64) / 50) ** 2 + ((column - 50) / 45) ** 2 < 1
    rng = np.random.default_rng(index)
    pixels = np.where(brain, rng.integers(80, 110, brain.shape), 0).astype(np.uint8)
    ball = (plane - 30) ** 2 + (row - 50) ** 2 + (column - 40 - 5 * index) ** 2 < 15**2
    shown = ball & brain & tumour
    pixels[shown] = TUMOUR_GREY
    return TrainingVolume(pixels, shown)
