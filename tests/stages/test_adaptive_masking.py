"""Adaptive masking: which pixels are masked."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clisc_nnunet.settings import MaskingSettings
from clisc_nnunet.stages.adaptive_masking import mask_slice, mask_stack

TEXT = MaskingSettings(mode="text")
BRIGHTNESS = MaskingSettings(mode="brightness")
OFF = MaskingSettings(mode="off")

slices = arrays(np.uint8, (6, 7))
cams = arrays(np.float32, (6, 7), elements=st.floats(0, 1, width=32))
rois = arrays(np.bool_, (6, 7))


def a_slice_with_a_region():
    """A slice of 100 everywhere, a CAM that rises along the columns, a region of 2 x 3 pixels."""
    pixels = np.full((5, 6), 100, np.uint8)
    cam = np.tile(np.linspace(0, 1, 6, dtype=np.float32), (5, 1))
    roi = np.zeros((5, 6), bool)
    roi[1:3, 1:4] = True
    return pixels, cam, roi


def test_text_masks_the_highest_cam_inside_the_box():
    pixels, cam, roi = a_slice_with_a_region()
    # In the box the CAM is 0.2, 0.4, 0.6: above 0.2 + 0.8 * 0.4 = 0.52 lies its last column. The
    # CAM's peak, columns 4 and 5, is outside.
    expected = pixels.copy()
    expected[1:3, 3] = 0
    np.testing.assert_array_equal(mask_slice(pixels, cam, roi, TEXT), expected)


def test_text_masks_within_the_box_not_the_region():
    pixels, cam, roi = a_slice_with_a_region()
    roi[1, 3] = False  # row 2 still spans the box
    assert mask_slice(pixels, cam, roi, TEXT)[1, 3] == 0


def test_the_fraction_decides_how_much_is_masked():
    pixels, cam, roi = a_slice_with_a_region()
    half = MaskingSettings(mode="text", cam_fraction=0.4)
    assert (mask_slice(pixels, cam, roi, TEXT) == 0).sum() == 2
    assert (mask_slice(pixels, cam, roi, half) == 0).sum() == 4


def test_text_masks_the_brightest_pixels_of_a_slice_without_a_region():
    pixels = np.array([[0, 100, 160, 161, 200]], np.uint8)
    nothing = np.zeros(pixels.shape, bool)
    masked = mask_slice(pixels, np.ones(pixels.shape, np.float32), nothing, TEXT)
    np.testing.assert_array_equal(masked, [[0, 100, 160, 0, 0]])


def test_brightness_masks_bright_pixels_despite_a_region():
    pixels, cam, roi = a_slice_with_a_region()
    pixels[4, 5] = 250
    expected = pixels.copy()
    expected[4, 5] = 0
    np.testing.assert_array_equal(mask_slice(pixels, cam, roi, BRIGHTNESS), expected)


def test_a_flat_cam_or_slice_masks_nothing():
    pixels, cam, roi = a_slice_with_a_region()
    flat = np.full_like(cam, 0.7)
    np.testing.assert_array_equal(mask_slice(pixels, flat, roi, TEXT), pixels)
    np.testing.assert_array_equal(mask_slice(pixels, cam, np.zeros_like(roi), TEXT), pixels)


@given(slices, cams, rois)
@settings(max_examples=60, deadline=None)
def test_a_masked_pixel_is_zero_and_others_are_unchanged(pixels, cam, roi):
    before = pixels.copy()
    for mode in (TEXT, BRIGHTNESS, OFF):
        masked = mask_slice(pixels, cam, roi, mode)
        assert masked.dtype == np.uint8
        assert np.all((masked == pixels) | (masked == 0))
        np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(masked, pixels)  # the last mode was `off`


@given(slices, cams, rois)
@settings(max_examples=60, deadline=None)
def test_masking_stays_in_the_box_and_takes_the_cams_peak(pixels, cam, roi):
    if not roi.any():
        return
    masked = mask_slice(pixels, cam, roi, TEXT)
    rows, columns = np.flatnonzero(roi.any(axis=1)), np.flatnonzero(roi.any(axis=0))
    box = np.zeros_like(roi)
    box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    assert np.all(masked[~box] == pixels[~box])
    if np.ptp(cam[box]) > 1e-3:
        assert np.all(masked[box & (cam == cam[box].max())] == 0)


def test_a_stack_is_masked_plane_by_plane():
    pixels, cam, roi = a_slice_with_a_region()
    empty = np.zeros_like(roi)
    pixels = np.stack([pixels, np.arange(30, dtype=np.uint8).reshape(5, 6)])
    cam, roi = np.stack([cam, cam]), np.stack([roi, empty])
    masked = mask_stack(pixels, cam, roi, TEXT)
    for plane in range(2):
        np.testing.assert_array_equal(
            masked[plane], mask_slice(pixels[plane], cam[plane], roi[plane], TEXT)
        )
    assert (masked[0] != pixels[0]).sum() == 2
    assert (masked[1] != pixels[1]).sum() == 6  # 24 to 29, above 0.8 * 29
