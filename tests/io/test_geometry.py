import numpy as np
import pytest
from helpers.acquisitions import tilted
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from clisc_nnunet.io.geometry import (
    Geometry,
    geometry_of_steps,
    is_orthogonal,
    max_skew_degrees,
    orthogonalised,
    same_grid,
    smoothing_sigma,
)

SQUARE = tuple(np.eye(3).ravel().tolist())
PERMUTED = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def geometry(spacing, direction=SQUARE):
    return Geometry((9, 8, 7), spacing, (1.0, 2.0, 3.0), direction)


def test_spacing_and_direction_from_steps():
    steps = np.array([[0.0, 0.0, 3.0], [-2.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    found = geometry_of_steps((9, 8, 7), steps, np.array([1.0, 2.0, 3.0]))
    assert found.spacing == (2.0, 1.0, 3.0)
    assert found.axes.T.tolist() == [[0, -1, 0], [0, 0, 1], [1, 0, 0]]
    assert found.shape == (7, 8, 9)


@pytest.mark.parametrize("degrees", [0.0, 1.0, 5.0, 20.0])
def test_a_skewed_grid_is_orthogonalised_about_its_centre(degrees):
    sheared = np.eye(3)
    sheared[:2, 1] = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    before = geometry((2.0, 2.5, 3.0), tuple((np.reshape(tilted(20), (3, 3)) @ sheared).flat))
    assert max_skew_degrees(before) == pytest.approx(degrees, abs=1e-6)
    assert is_orthogonal(before) == (degrees == 0)
    after = orthogonalised(before)
    assert is_orthogonal(after)
    assert after.spacing == before.spacing
    middle = (np.array(before.size) - 1) / 2
    places = [np.array(g.origin) + g.axes @ (middle * g.spacing) for g in (before, after)]
    assert places[0] == pytest.approx(places[1])
    # Both axes of the pair are turned by half of the angle.
    turned = np.degrees(np.arccos(np.clip((before.axes * after.axes).sum(axis=0), -1, 1)))
    assert turned == pytest.approx([degrees / 2, degrees / 2, 0], abs=1e-4)


def test_a_mirrored_grid_stays_mirrored():
    mirrored = geometry((1.0, 1.0, 1.0), (-1.0, 0.01, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    assert np.linalg.det(orthogonalised(mirrored).axes) == pytest.approx(-1)


def test_coincident_axes_have_a_skew_of_ninety_degrees():
    flat = geometry((1.0, 1.0, 1.0), (1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    assert max_skew_degrees(flat) == pytest.approx(90)


def test_smoothing_follows_the_axes_of_the_source():
    """The target is coarse along the patient's z alone, which is the source's second axis."""
    source = geometry((1.0, 1.5, 2.0), PERMUTED)
    assert source.axes[:, 1].tolist() == [0, 0, 1]
    target = geometry((2.0, 1.0, 5.0))
    expected = 0.4 * np.sqrt(5.0**2 - 1.5**2)
    assert smoothing_sigma(source, target) == pytest.approx([0, expected, 0])


def test_smoothing_of_aligned_axes_is_the_difference_of_both_gaussians():
    sigma = smoothing_sigma(geometry((1.0, 2.0, 3.0)), geometry((2.0, 2.05, 1.0)))
    assert sigma == pytest.approx([0.4 * np.sqrt(3), 0, 0])


@given(
    st.lists(st.floats(-180, 180), min_size=3, max_size=3),
    st.permutations([0, 1, 2]),
    st.lists(st.sampled_from([-1.0, 1.0]), min_size=3, max_size=3),
)
def test_smoothing_does_not_depend_on_the_order_of_the_targets_axes(angles, order, signs):
    spacing = np.array([2.0, 3.0, 5.0])
    axes = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    one = geometry(tuple(spacing), tuple(axes.flat))
    other = geometry(tuple(spacing[order]), tuple((axes[:, order] * signs).flat))
    source = geometry((1.0, 1.5, 2.0), tilted(10))
    assert smoothing_sigma(source, one) == pytest.approx(smoothing_sigma(source, other))


def test_grids_are_equal_within_a_micrometre():
    one = geometry((1.0, 2.0, 3.0))
    assert same_grid(one, geometry((1.0, 2.0, 3.0005)))
    assert not same_grid(one, geometry((1.0, 2.0, 3.01)))
    assert not same_grid(one, geometry((1.0, 2.0, 3.0), tilted(1)))
