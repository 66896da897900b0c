import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clisc_nnunet.stages.sam.plane_views import centred_window, window_around


@given(st.tuples(*[st.integers(1, 12)] * 3), st.integers(0, 2), st.integers(4, 14))
def test_a_centred_window_round_trips(shape, axis, side):
    volume = np.random.default_rng(0).random(shape)
    window = centred_window(shape, axis, side)
    squares = window.cut(volume)
    assert squares.shape == (shape[axis], side, side)
    back, seen = window.put_back(squares, shape, outside=0.0)
    assert np.array_equal(back[seen], volume[seen])
    assert not back[~seen].any()
    if max(shape) <= side:
        assert seen.all()


@pytest.mark.parametrize(("axis", "name"), enumerate(["axial", "coronal", "sagittal"]))
def test_a_voxel_lies_on_the_plane_of_its_index(axis, name):
    volume = np.zeros((5, 6, 7))
    volume[1, 2, 3] = 1
    squares = centred_window(volume.shape, axis, 9).cut(volume)
    assert np.argwhere(squares)[0][0] == (1, 2, 3)[axis]


@given(
    st.tuples(*[st.integers(3, 12)] * 3),
    st.integers(0, 2),
    st.floats(1.0, 3.0),
    st.integers(1, 20),
    st.randoms(use_true_random=False),
)
def test_a_window_contains_the_mask_and_round_trips(shape, axis, factor, narrowest, random):
    mask = np.zeros(shape, bool)
    corner = [random.randrange(n) for n in shape]
    mask[tuple(slice(c, c + random.randrange(1, 4)) for c in corner)] = True
    window = window_around(mask, axis, factor, narrowest)
    squares = window.cut(mask)
    assert squares.shape == (shape[axis], window.side, window.side)
    assert squares.sum() == mask.sum()
    assert window.side >= narrowest
    volume = np.random.default_rng(0).random(shape)
    back, there = window.put_back(window.cut(volume), shape, outside=-1.0)
    assert np.array_equal(back[there], volume[there])
    assert (back[~there] == -1).all()
    assert there[mask].all()


def test_a_window_is_centred_on_the_mask():
    mask = np.zeros((20, 20, 20), bool)
    mask[5:9, 6:12, 8:10] = True
    window = window_around(mask, axis=0, factor=2.0, narrowest=1)
    assert window.side == 12
    assert window.first == (3, 3)
