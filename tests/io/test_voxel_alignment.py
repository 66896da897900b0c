"""Labels come back reoriented or cropped: the same voxels, at the same place."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.acquisitions import tilted, turned
from hypothesis import given, settings
from hypothesis import strategies as st

from clisc_nnunet.io.geometry import Geometry
from clisc_nnunet.io.volume import Volume
from clisc_nnunet.io.voxel_alignment import Alignment, find_alignment, move_onto

SQUARE = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
GRID = Geometry((5, 4, 3), (0.9, 1.1, 3.0), (-40.2, 31.7, 12.0), SQUARE)
ORIENTATIONS = [
    a + b + c
    for axes in (("RL", "AP", "SI"), ("AP", "RL", "SI"), ("SI", "AP", "RL"), ("AP", "SI", "RL"))
    for a in axes[0]
    for b in axes[1]
    for c in axes[2]
]


def cropped(volume: Volume, low: np.ndarray, high: np.ndarray) -> Volume:
    """A box of the volume, (plane, row, column), at its place."""
    array = volume.array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    old = volume.geometry
    shift = old.axes @ (np.array(old.spacing) * low[::-1])
    x, y, z = (np.array(old.origin) + shift).tolist()
    geometry = Geometry(array.shape[::-1], old.spacing, (x, y, z), old.direction)
    return Volume(array, geometry)


@settings(max_examples=150, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 7)] * 3),
    spacing=st.tuples(*[st.floats(0.4, 7.0)] * 3),
    origin=st.tuples(*[st.floats(-300.0, 300.0)] * 3),
    degrees=st.floats(-40.0, 40.0),
    orientation=st.sampled_from(ORIENTATIONS),
    seed=st.integers(0, 1000),
)
def test_reoriented_and_cropped_labels_have_the_same_voxels(
    size, spacing, origin, degrees, orientation, seed
):
    rng = np.random.default_rng(seed)
    grid = Geometry(size, spacing, origin, tilted(degrees))
    label = (rng.random(grid.shape) > 0.7).astype(np.uint8)
    low = rng.integers(0, grid.shape)
    high = low + rng.integers(1, np.array(grid.shape) - low + 1)
    box = np.zeros_like(label)
    where = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    box[where] = label[where]
    returned = turned(cropped(Volume(label, grid), low, high), orientation)
    # As single-precision headers round it.
    rounded = replace(
        returned.geometry,
        origin=tuple(float(np.float32(v)) for v in returned.geometry.origin),
        direction=tuple(float(np.float32(v)) for v in returned.geometry.direction),
    )
    alignment = find_alignment(rounded, grid)
    assert alignment is not None
    moved, lost = move_onto(returned.array, alignment, grid.shape)
    assert lost == 0
    np.testing.assert_array_equal(moved, box)


def test_the_same_grid_stays():
    alignment = find_alignment(GRID, GRID)
    assert alignment == Alignment((0, 1, 2), (False,) * 3, (0, 0, 0))
    assert not alignment.reoriented


def test_a_larger_grid_is_cropped_and_what_is_lost_is_counted():
    larger = Geometry((7, 4, 3), GRID.spacing, (-40.2 - 0.9, 31.7, 12.0), SQUARE)
    alignment = find_alignment(larger, GRID)
    assert alignment.start == (0, 0, -1)
    array = np.arange(84).reshape(larger.shape)
    moved, lost = move_onto(array, alignment, GRID.shape)
    np.testing.assert_array_equal(moved, array[:, :, 1:6])
    assert lost == 23  # the corner is 0


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": (-40.2 + 0.9, 31.7, 12.0)},  # the same extent, shifted
        {"origin": (-40.2 + 0.3, 31.7, 12.0)},  # between voxels
        {"spacing": (1.1, 0.9, 3.0)},
        {"direction": tilted(10.0)},
        {
            "direction": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
        },  # flipped in the header alone
    ],
)
def test_other_voxels_do_not_fit(changes):
    assert find_alignment(replace(GRID, **changes), GRID) is None
