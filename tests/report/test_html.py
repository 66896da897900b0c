import base64
import io

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread

from clisc_nnunet.report.html import figure_text, figure_uri, slice_uri


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


def test_figures_and_what_is_none():
    assert figure_text(0.876) == "0.88"
    assert figure_text(7.2, 0) == "7"
    assert figure_text(None) == figure_text(float("nan")) == "–"
