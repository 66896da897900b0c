"""Planes of a case for a web page: images as data URIs, outlines as SVG paths.

SVG outlines stay sharp when enlarged, can be toggled individually, and are smaller than an image
of each combination.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from PIL import Image
from skimage.measure import find_contours

from clisc_nnunet.report.case_planes import PlaneView

# Larger slices (224 pixels in the paper) are downsampled, so that a page can hold 500 cases.
MAX_SIDE = 160
# CAMs are smooth, so a lower resolution is sufficient.
CAM_SIDE = 64
# Maximum opacity of a CAM, so that the brain remains visible.
CAM_OPACITY = 0.8
# Units of an outline per pixel; smoothing produces no smaller steps.
OUTLINE_UNITS = 8


@dataclass(frozen=True)
class PlanePicture:
    """A plane for SVG; coordinates in pixels, (0, 0) is the upper left corner of the slice.

    Parameters
    ----------
    plane : int
        Index in the stack.
    width, height : int
        In pixels.
    pixels, cam : str
        Data URIs; `cam` is empty if there is none.
    roi, label : str
        Paths from `outline`.
    box : tuple of 4 float, or None
        x, y, width, height.
    positive, negative : tuple of (float, float)
        Points, (x, y).
    rejected : bool
        As in `PlaneView`.
    """

    plane: int
    width: int
    height: int
    pixels: str
    cam: str
    roi: str
    label: str
    box: tuple[float, float, float, float] | None
    positive: tuple[tuple[float, float], ...]
    negative: tuple[tuple[float, float], ...]
    rejected: bool


def plane_picture(view: PlaneView) -> PlanePicture:
    """Convert a plane: images, outlines and prompts."""
    height, width = view.pixels.shape
    box = None
    points: dict[int, tuple[tuple[float, float], ...]] = {0: (), 1: ()}
    if view.prompts is not None:
        # Prompts have their origin at the centre of the first pixel, SVG at its corner.
        x0, y0, x1, y1 = (float(edge) + 0.5 for edge in view.prompts.boxes[0])
        box = (x0, y0, x1 - x0, y1 - y0)
        labels = view.prompts.labels[0]
        points = {
            label: tuple((float(x) + 0.5, float(y) + 0.5) for x, y in view.prompts.points[0][at])
            for label in points
            for at in [labels == label]
        }
    return PlanePicture(
        plane=view.plane,
        width=width,
        height=height,
        pixels=grey_picture(view.pixels),
        cam=heat_picture(view.cam),
        roi=outline(view.roi),
        label=outline(view.label),
        box=box,
        positive=points[1],
        negative=points[0],
        rejected=view.rejected,
    )


def grey_picture(pixels: np.ndarray) -> str:
    """Data URI of a uint8 slice (row, column), downsampled to at most `MAX_SIDE` pixels."""
    image = Image.fromarray(pixels)
    image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    return _data_uri(image)


def heat_picture(cam: np.ndarray) -> str:
    """Data URI of a CAM (row, column) in 0..1, transparent where it is low; "" if all zero."""
    if not cam.any():
        return ""
    small = Image.fromarray(np.rint(255 * cam.clip(0, 1)).astype(np.uint8))
    small.thumbnail((CAM_SIDE, CAM_SIDE), Image.Resampling.BOX)
    values = np.asarray(small)
    colours = colormaps["inferno"](values, bytes=True)
    colours[..., 3] = np.rint(CAM_OPACITY * values)
    return _data_uri(Image.fromarray(colours))


def outline(mask: np.ndarray) -> str:
    """Outline of a bool mask (row, column), for the `d` of an SVG path; "" if empty.

    Coordinates are integers, in eighths of a pixel (`OUTLINE_UNITS`), to keep the text short. The
    outline deviates by less than half a pixel and never crosses a pixel centre.
    """
    # Padding closes the outlines of masks that touch the border.
    contours = find_contours(np.pad(mask, 1).astype(np.uint8), 0.5)
    # Array indices refer to pixel centres, and the padding shifted them by one.
    return "".join(_path(_smooth(contour[:-1]) - 0.5) for contour in contours)


def _smooth(corners: np.ndarray) -> np.ndarray:
    """Smooth the staircase of a closed outline, (n, 2)."""
    return (np.roll(corners, 1, axis=0) + 2 * corners + np.roll(corners, -1, axis=0)) / 4


def _path(corners: np.ndarray) -> str:
    """Closed SVG path through points (row, column), with relative integer steps."""
    grid = np.rint(OUTLINE_UNITS * corners[:, ::-1]).astype(int)
    ahead, behind = np.roll(grid, -1, axis=0) - grid, grid - np.roll(grid, 1, axis=0)
    kept = grid[ahead[:, 0] * behind[:, 1] != ahead[:, 1] * behind[:, 0]]
    steps = " ".join(map(str, np.diff(kept, axis=0).ravel()))
    return f"M{kept[0, 0]} {kept[0, 1]}l{steps.replace(' -', '-')}Z"


def _data_uri(image: Image.Image) -> str:
    file = io.BytesIO()
    # Method 2 of 0..6: files a sixth larger than with 4, in a fifth of the time.
    image.save(file, "WEBP", quality=70, method=2)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")
