import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clisc_nnunet.views import from_square_planes, square_planes


@given(st.tuples(*[st.integers(1, 12)] * 3), st.integers(0, 2), st.integers(4, 14))
def test_there_and_back_is_the_same_where_it_was_seen(shape, axis, side):
    volume = np.random.default_rng(0).random(shape)
    squares = square_planes(volume, axis, side)
    assert squares.shape == (shape[axis], side, side)
    back, seen = from_square_planes(squares, axis, shape)
    assert np.array_equal(back[seen], volume[seen])
    assert not back[~seen].any()
    if max(shape) <= side:
        assert seen.all()


@pytest.mark.parametrize(("axis", "name"), enumerate(["axial", "coronal", "sagittal"]))
def test_a_voxel_lies_on_the_plane_of_its_index(axis, name):
    volume = np.zeros((5, 6, 7))
    volume[1, 2, 3] = 1
    squares = square_planes(volume, axis, 9)
    assert np.argwhere(squares)[0][0] == (1, 2, 3)[axis]
