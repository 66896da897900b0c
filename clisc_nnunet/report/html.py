"""Self-contained HTML pages from jinja2 templates, with images as data URIs."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure
from PIL import Image


def environment() -> Environment:
    """jinja2 environment for `report/templates`, with autoescape for names from the user."""
    made = Environment(
        loader=PackageLoader("clisc_nnunet.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["figure"] = lambda value, digits=2: figure_text(value, digits)
    return made


def render(template: str, **content: Any) -> str:
    """Render a template."""
    return environment().get_template(template).render(**content)


def figure_text(value: float | None, digits: int = 2) -> str:
    """Format a number with `digits` decimals; a dash for None and NaN."""
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


def _png_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
