"""Components and their size relative to the largest."""

import numpy as np
import pytest

from clisc_nnunet.stages.connected_components import count_components, large_components


def volume_with_three_components():
    """Components of 27, 9 and 8 voxels."""
    mask = np.zeros((9, 9, 9), bool)
    mask[0:3, 0:3, 0:3] = True
    mask[5, 0:3, 0:3] = True
    mask[7:9, 7:9, 7:9] = True
    return mask


def test_a_component_of_exactly_the_share_stays():
    kept = large_components(volume_with_three_components(), 1 / 3)
    expected = volume_with_three_components()
    expected[7:9, 7:9, 7:9] = False
    np.testing.assert_array_equal(kept, expected)


def test_a_share_of_one_keeps_the_largest_and_zero_keeps_all():
    mask = volume_with_three_components()
    assert large_components(mask, 1.0).sum() == 27
    assert large_components(mask, 0.0).sum() == mask.sum()


def test_a_shared_corner_connects():
    mask = np.zeros((4, 4, 4), bool)
    mask[0:2, 0:2, 0:2] = True
    mask[2, 2, 2] = True
    np.testing.assert_array_equal(large_components(mask, 1.0), mask)


def test_an_empty_volume_stays_empty():
    assert not large_components(np.zeros((2, 3, 4), bool), 0.5).any()


@pytest.fixture
def two():
    """A component of 27 voxels and one of 8."""
    mask = np.zeros((12, 12, 12), bool)
    mask[1:4, 1:4, 1:4] = True
    mask[8:10, 8:10, 8:10] = True
    return mask


def test_the_largest_component_is_the_one_with_most_voxels(two):
    expected = two.copy()
    expected[8:] = False
    assert np.array_equal(large_components(two, 1.0), expected)
    assert not large_components(np.zeros_like(two), 1.0).any()


def test_voxels_that_share_a_corner_are_one_component():
    mask = np.zeros((7, 7, 7), bool)
    mask[0:2, 0:2, 0:2] = mask[2:4, 2:4, 2:4] = True  # 8 voxels each, corner to corner
    joined = mask.copy()
    mask[6, 5:, 0:6] = True  # 12 voxels
    before = mask.copy()
    found = large_components(mask, 1.0)
    assert found.dtype == bool
    assert np.array_equal(found, joined)
    assert np.array_equal(mask, before)


def test_the_axes_of_a_component_stay_in_place():
    mask = np.zeros((3, 5, 7), bool)
    mask[1, 2:4, 1:6] = True
    expected = mask.copy()
    mask[0, 0, 6] = True
    assert np.array_equal(large_components(mask, 1.0), expected)


def test_components_that_share_a_corner_are_one():
    mask = np.zeros((4, 6, 6), bool)
    assert count_components(mask) == 0
    mask[0, 0, 0] = mask[1, 1, 1] = mask[3, 5, 5] = True
    assert count_components(mask) == 2
