import base64
import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from skimage.draw import polygon2mask

from clisc_nnunet.report.pages import figure_text, figure_uri, outline_path, slice_uri


def picture(uri):
    head, _, content = uri.partition(",")
    assert head == "data:image/png;base64"
    return imread(io.BytesIO(base64.b64decode(content)))


def test_a_slice_keeps_its_grey_values():
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    grey = picture(slice_uri(pixels)) * 255
    assert np.array_equal(np.rint(grey), pixels)


def test_a_figure_becomes_a_picture():
    assert picture(figure_uri(Figure(figsize=(2, 1)), dpi=50)).shape[:2] == (50, 100)


def corners(path):
    loops = [loop for loop in path.split("M") if loop]
    assert all(loop.endswith("Z") for loop in loops)
    return [
        np.array([point.split() for point in loop[:-1].split("L")], float)[:, ::-1]
        for loop in loops
    ]


@pytest.mark.parametrize("top", [0, 5])
def test_an_outline_encloses_its_pixels_even_at_the_rim(top):
    mask = np.zeros((12, 14), bool)
    mask[top : top + 4, 9:14] = True
    (loop,) = corners(outline_path(mask))
    # In the picture the centre of pixel (row, column) lies at (row + 0.5, column + 0.5).
    assert np.array_equal(polygon2mask(mask.shape, loop - 0.5), mask)


def test_two_pieces_are_two_loops_and_nothing_is_none():
    mask = np.zeros((9, 9), bool)
    assert outline_path(mask) == ""
    mask[1:3, 1:3] = mask[6:8, 5:8] = True
    assert len(corners(outline_path(mask))) == 2


def test_figures_and_what_is_none():
    assert figure_text(0.876) == "0.88"
    assert figure_text(7.2, 0) == "7"
    assert figure_text(None) == figure_text(float("nan")) == "–"
