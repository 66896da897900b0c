import base64
import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from skimage.draw import polygon2mask

from clisc_nnunet.report.case_planes import PlaneView
from clisc_nnunet.report.svg import (
    CAM_SIDE,
    MAX_SIDE,
    OUTLINE_UNITS,
    grey_picture,
    heat_picture,
    outline,
    plane_picture,
)
from clisc_nnunet.stages.sam.prompts_and_masks import Prompts


def decoded(uri):
    head, _, data = uri.partition(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def corners(path):
    """Points (x, y) of every closed part of a path, in pixels."""
    for start, steps in re.findall(r"M([^l]+)l([^Z]+)Z", path):
        numbers = [int(number) for number in re.findall(r"-?\d+", start + " " + steps)]
        yield np.cumsum(np.reshape(numbers, (-1, 2)), axis=0) / OUTLINE_UNITS


def filled(path, shape):
    """The mask inside a path, by the even-odd rule."""
    mask = np.zeros(shape, bool)
    for part in corners(path):
        mask ^= polygon2mask(shape, part[:, ::-1] - 0.5)
    return mask


def view(mask, prompts=None, rejected=False):
    pixels = np.full(mask.shape, 90, np.uint8)
    return PlaneView(3, pixels, mask.astype(np.float32), mask, mask, prompts, rejected)


def test_a_slice_keeps_its_greys_and_its_size():
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
    image = decoded(grey_picture(ramp)).convert("L")
    assert image.size == (64, 48)
    assert np.abs(np.asarray(image).astype(int) - ramp).mean() < 4


def test_large_slices_are_shrunk():
    assert decoded(grey_picture(np.zeros((448, 224), np.uint8))).size == (MAX_SIDE // 2, MAX_SIDE)


def test_a_cam_is_transparent_where_it_is_low():
    cam = np.zeros((128, 128), np.float32)
    cam[32:64, 64:128] = 1.0
    alpha = np.asarray(decoded(heat_picture(cam)))[..., 3]
    assert alpha.shape == (CAM_SIDE, CAM_SIDE)
    assert alpha[:12].max() < 20 and alpha[20:28, 40:60].min() > 180


def test_no_cam_no_picture():
    assert heat_picture(np.zeros((8, 8), np.float32)) == ""


def test_the_outline_of_a_block_runs_round_its_pixels():
    mask = np.zeros((20, 20), bool)
    mask[5:12, 3:15] = True
    (part,) = corners(outline(mask))
    assert part.min(axis=0).tolist() == [3, 5] and part.max(axis=0).tolist() == [15, 12]


def test_no_outline_of_nothing():
    assert outline(np.zeros((4, 4), bool)) == ""


@pytest.mark.parametrize("mask", [np.ones((6, 9), bool), np.eye(1, 1, dtype=bool)])
def test_what_touches_the_border_is_closed(mask):
    np.testing.assert_array_equal(filled(outline(mask), mask.shape), mask)


@settings(max_examples=60, deadline=None)
@given(arrays(bool, (9, 9), elements=st.booleans()))
def test_an_outline_encloses_its_mask(mask):
    np.testing.assert_array_equal(filled(outline(mask), mask.shape), mask)


def test_prompts_lie_on_the_middle_of_their_pixels():
    prompts = Prompts(
        np.array([[2, 3, 9, 7]], np.float32),
        np.array([[[4, 5], [2, 3]]], np.float32),
        np.array([[1, 0]]),
    )
    mask = np.zeros((12, 12), bool)
    mask[4:7, 4:9] = True
    picture = plane_picture(view(mask, prompts, rejected=True))
    assert picture.box == (2.5, 3.5, 7.0, 4.0)
    assert picture.positive == ((4.5, 5.5),) and picture.negative == ((2.5, 3.5),)
    assert picture.plane == 3 and picture.rejected
    assert picture.label == picture.roi == outline(mask)


def test_an_empty_plane_has_its_slice_alone():
    picture = plane_picture(view(np.zeros((12, 12), bool)))
    assert picture.pixels and not (picture.cam or picture.roi or picture.label)
    assert picture.box is None and picture.positive == picture.negative == ()
