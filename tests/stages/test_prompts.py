import numpy as np
import pytest

from clisc_nnunet.settings import PromptSettings
from clisc_nnunet.stages.sam.prompts import box_prompt, corner_points, make_prompts, positive_points


@pytest.fixture
def roi():
    roi = np.zeros((40, 60), bool)
    roi[10:20, 30:50] = True
    return roi


@pytest.mark.parametrize(
    ("margin", "expected"),
    [(0, [30, 10, 49, 19]), (3, [27, 7, 52, 22]), (15, [15, 0, 59, 34])],
)
def test_box_is_xyxy_widened_and_clipped(roi, margin, expected):
    assert box_prompt(roi, margin).tolist() == expected


def test_box_of_an_empty_region_is_an_error():
    with pytest.raises(ValueError, match="empty"):
        box_prompt(np.zeros((4, 4), bool), 0)


def test_points_are_first_last_thirds_and_half_of_the_bright_pixels(roi):
    """Ten bright pixels in raster order: numbers 0, 9, 3, 4 (half of 9, to even), 6."""
    pixels = np.full(roi.shape, 50, np.uint8)
    pixels[12, 32:37] = pixels[15, 40:45] = 250
    points = positive_points(pixels, roi, 5, bright=0.6)
    assert points.tolist() == [[32, 12], [44, 15], [35, 12], [36, 12], [41, 15]]


def test_points_stay_in_the_region_even_if_it_is_dark(roi):
    points = positive_points(np.zeros(roi.shape, np.uint8), roi, 5, bright=0.6).astype(int)
    assert all(roi[y, x] for x, y in points)


def test_brighter_pixels_outside_the_region_are_ignored(roi):
    pixels = np.full(roi.shape, 50, np.uint8)
    pixels[0:5] = 255
    pixels[12, 33] = 120
    pixels[0, 0] = 0
    assert positive_points(pixels, roi, 1, bright=0.6).tolist() == [[33, 12]]


def test_negative_points_are_the_corners_of_the_box(roi):
    prompts = make_prompts(np.ones((1, *roi.shape), np.uint8), roi[None], PromptSettings(margin=2))
    assert prompts.labels.tolist() == [[1, 1, 1, 1, 1, 0, 0, 0, 0]]
    corners = {tuple(p) for p in prompts.points[0, 5:].tolist()}
    assert corners == {(28, 8), (51, 8), (28, 21), (51, 21)}
    assert np.array_equal(corner_points(prompts.boxes[0]), prompts.points[0, 5:])


def test_corners_can_be_omitted(roi):
    settings = PromptSettings(negative_corners=False)
    prompts = make_prompts(np.ones((1, *roi.shape), np.uint8), roi[None], settings)
    assert prompts.points.shape == (1, 5, 2)


def test_no_slices_no_prompts():
    prompts = make_prompts(np.ones((0, 8, 8), np.uint8), np.ones((0, 8, 8), bool), PromptSettings())
    assert len(prompts) == 0
    assert prompts.points.shape == (0, 9, 2)
