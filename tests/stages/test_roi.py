"""Regions of interest from synthetic CAM volumes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clisc_nnunet.settings import RoiSettings
from clisc_nnunet.stages.roi import fill_gaps, open_region, region_of_interest, signed_distance

ALL_OF_IT = np.ones((8, 12, 12), bool)
PLAIN = RoiSettings(opening=False, component_ratio=0.0, fill_gaps=False)


def cam_with(*boxes, shape=(8, 12, 12)):
    """CAM of 0.1 with boxes ((plane, row, column) slices, value) on it."""
    cam = np.full(shape, 0.1, np.float32)
    for box, value in boxes:
        cam[box] = value
    return cam


def test_the_region_is_what_exceeds_the_threshold():
    cam = cam_with((np.s_[1:4, 2:6, 2:6], 0.5), (np.s_[1:4, 2:6, 7:9], 0.3))
    assert region_of_interest(cam, ALL_OF_IT, 0.4, PLAIN).sum() == 3 * 4 * 4
    # Not at the threshold itself.
    assert region_of_interest(cam, ALL_OF_IT, 0.5, PLAIN).sum() == 0
    assert region_of_interest(cam, ALL_OF_IT, 0.2, PLAIN).sum() == 3 * 4 * 6


def test_the_region_lies_in_the_brain():
    cam = cam_with((np.s_[1:4, 2:6, 2:6], 0.9))
    brain = ALL_OF_IT.copy()
    brain[:, :4] = False
    region = region_of_interest(cam, brain, 0.4, PLAIN)
    assert region.sum() == 3 * 2 * 4
    assert not region[~brain].any()


def test_opening_drops_what_is_thinner_than_three_voxels():
    cam = cam_with((np.s_[2:5, 2:5, 2:5], 0.9), (np.s_[2:5, 8:10, 2:10], 0.9))
    opened = region_of_interest(cam, ALL_OF_IT, 0.4, RoiSettings(component_ratio=0.0))
    expected = np.zeros_like(opened)
    expected[2:5, 2:5, 2:5] = True
    np.testing.assert_array_equal(opened, expected)


@pytest.mark.parametrize(("plane_mm", "survives"), [(1.0, False), (2.9, False), (3.0, True)])
def test_a_region_on_two_planes_survives_only_where_planes_are_thick(plane_mm, survives):
    region = np.zeros((8, 12, 12), bool)
    region[3:5, 3:7, 3:7] = True
    np.testing.assert_array_equal(open_region(region, plane_mm), region & survives)


def test_a_stack_of_two_planes_is_opened_plane_by_plane():
    region = np.zeros((2, 12, 12), bool)
    region[:, 3:7, 3:7] = True
    region[:, 9, 3:7] = True  # a line
    opened = open_region(region, 1.0)
    assert opened[:, 3:7, 3:7].all()
    assert opened.sum() == 2 * 4 * 4


def test_small_components_are_dropped():
    cam = cam_with((np.s_[1:5, 1:6, 1:6], 0.9), (np.s_[1:4, 8:11, 8:11], 0.9))  # 100, 27 voxels
    settings = RoiSettings(component_ratio=1 / 3)
    assert region_of_interest(cam, ALL_OF_IT, 0.4, settings).sum() == 100
    settings = RoiSettings(component_ratio=1 / 4)
    assert region_of_interest(cam, ALL_OF_IT, 0.4, settings).sum() == 127


def test_an_empty_cam_gives_an_empty_region():
    region = region_of_interest(np.zeros((8, 12, 12), np.float32), ALL_OF_IT, 0.4, RoiSettings())
    assert region.dtype == bool
    assert not region.any()


def test_a_gap_is_interpolated():
    region = np.zeros((5, 20, 20), bool)
    region[1, 8:11, 8:11] = True  # side 3
    region[3, 6:13, 6:13] = True  # side 7
    filled = fill_gaps(region, max_planes=1)
    expected = region.copy()
    expected[2, 7:12, 7:12] = True  # side 5
    np.testing.assert_array_equal(filled, expected)


def test_a_gap_between_regions_far_apart_stays_empty():
    region = np.zeros((3, 20, 20), bool)
    region[0, 1:4, 1:4] = True
    region[2, 15:18, 15:18] = True
    np.testing.assert_array_equal(fill_gaps(region, max_planes=1), region)


@pytest.mark.parametrize(("max_planes", "filled"), [(2, False), (3, True)])
def test_a_wide_gap_stays(max_planes, filled):
    region = np.zeros((5, 9, 9), bool)
    region[[0, 4], 3:6, 3:6] = True
    assert fill_gaps(region, max_planes)[1:4].any(axis=(1, 2)).all() == filled
    assert fill_gaps(region, max_planes)[1:4].any() == filled


def test_gaps_are_filled_inside_the_brain_and_only_if_enabled():
    cam = cam_with((np.s_[0:3, 2:8, 2:8], 0.9), (np.s_[4:7, 2:8, 2:8], 0.9))
    brain = ALL_OF_IT.copy()
    brain[3, :5] = False
    filled = region_of_interest(cam, brain, 0.4, RoiSettings(), plane_mm=1.5)
    assert filled[3].sum() == 3 * 6
    assert not filled[~brain].any()
    apart = region_of_interest(cam, brain, 0.4, RoiSettings(fill_gaps=False), plane_mm=1.5)
    assert not apart[3].any()


def test_signed_distance_counts_pixels_to_the_outline():
    region = np.zeros((1, 7), bool)
    region[0, 2:5] = True
    np.testing.assert_array_equal(signed_distance(region)[0], [-2, -1, 1, 2, 1, -1, -2])


@given(
    arrays(np.float32, (4, 6, 6), elements=st.floats(0, 1, width=32)),
    arrays(np.bool_, (4, 6, 6)),
    st.floats(0.05, 0.95),
)
@settings(max_examples=60, deadline=None)
def test_without_filling_a_region_exceeds_the_threshold_inside_the_brain(cam, brain, threshold):
    region = region_of_interest(cam, brain, threshold, RoiSettings(fill_gaps=False))
    assert not (region & ~(brain & (cam > threshold))).any()
