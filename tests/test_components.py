"""Components by their share of the largest."""

import numpy as np

from clisc_nnunet.components import large_components


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
