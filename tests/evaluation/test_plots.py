import math
from dataclasses import replace

import numpy as np
import pytest
from helpers.evaluated import ONE, pixels

from clisc_nnunet.evaluation.plots import distributions, outlines

MASK = np.zeros((10, 20, 30), bool)
MASK[3:6, 5:12, 10:20] = True


def share_of(picture, red, green, blue):
    """Share of the pixels whose channels are all within 0.25 of a colour."""
    return float((np.abs(picture - [red, green, blue]).max(axis=-1) < 0.25).mean())


def test_both_outlines_are_drawn():
    picture = pixels(outlines(None, MASK, np.roll(MASK, 5, axis=2), (1.0, 1.0, 1.0)))
    assert share_of(picture, 1, 0, 0) > 0.001
    assert share_of(picture, 0, 0.75, 1) > 0.001


def test_nothing_is_outlined_where_nothing_is():
    image = np.random.default_rng(0).random(MASK.shape).astype(np.float32)
    picture = pixels(outlines(image, MASK & False, MASK, (1.0, 1.0, 1.0)))
    assert share_of(picture, 1, 0, 0) == 0
    assert share_of(picture, 0, 0.75, 1) > 0.001


@pytest.mark.parametrize("spacing", [(6.0, 1.0, 1.0), (1.0, 0.5, 2.0)])
def test_any_spacing_can_be_drawn(spacing):
    image = np.random.default_rng(0).random(MASK.shape).astype(np.float32)
    assert min(pixels(outlines(image, MASK, MASK, spacing)).shape[:2]) > 200


def test_distributions_of_what_is_defined():
    scores = [replace(ONE, case=str(n), dice=n / 9, hd95_mm=math.nan) for n in range(10)]
    few, many = (pixels(distributions(part)) for part in (scores[:2], scores))
    assert few.shape == many.shape
    assert (few != many).any()
