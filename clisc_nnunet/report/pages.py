"""Small self-contained HTML pages: a template, and pictures inside of it."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure
from PIL import Image
from skimage.measure import find_contours


def render(template: str, **content: Any) -> str:
    """A page from one of `report/templates`; whatever is put in is escaped."""
    environment = Environment(
        loader=PackageLoader("clisc_nnunet.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = lambda value, digits=2: figure_text(value, digits)
    return environment.get_template(template).render(**content)


def figure_text(value: float | None, digits: int = 2) -> str:
    """A figure with so many digits; a dash where there is none."""
    return "–" if value is None or np.isnan(value) else f"{value:.{digits}f}"


def slice_uri(pixels: np.ndarray) -> str:
    """A slice, uint8 (row, column), as a data URI."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return _png_uri(file.getvalue())


def figure_uri(figure: Figure, dpi: int = 90) -> str:
    """A figure as a data URI."""
    file = io.BytesIO()
    figure.savefig(file, dpi=dpi, format="png")
    return _png_uri(file.getvalue())


def outline_path(mask: np.ndarray) -> str:
    """Outline of a mask as the path of an SVG picture whose units are pixels.

    Parameters
    ----------
    mask : bool ndarray of shape (row, column)

    Returns
    -------
    str
        Empty for an empty mask. A pixel's centre is half a unit from its left and upper edge.
    """
    # Padded, so that outlines are closed at the rim: index 0 of the mask is 1 here.
    contours = find_contours(np.pad(mask, 1).astype(np.float32), 0.5)
    loops = [
        "L".join(f"{column - 0.5:g} {row - 0.5:g}" for row, column in contour[:-1])
        for contour in contours
    ]
    return "".join(f"M{loop}Z" for loop in loops)


def _png_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
