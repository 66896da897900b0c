"""`segmentations.html`: every mask on three orthogonal planes, without external files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from clisc_nnunet.io.volume import Volume, to_axial
from clisc_nnunet.report.case_planes import LABEL_COLOUR
from clisc_nnunet.report.html import render
from clisc_nnunet.report.svg import OUTLINE_UNITS, grey_picture, outline

ORIENTATIONS = ("axial", "coronal", "sagittal")
# What the left and the right border of each picture show of the patient.
SIDES = {"axial": "RL", "coronal": "RL", "sagittal": "AP"}
# Voxels shown around the head.
MARGIN = 4
# Percentiles of the head's intensities that become black and white.
BLACK, WHITE = 1.0, 99.5


@dataclass(frozen=True)
class MaskPicture:
    """A plane of a scan with the outline of its mask, for SVG.

    Parameters
    ----------
    orientation : str
        One of `ORIENTATIONS`.
    width_mm, height_mm : float
        Extent of the picture.
    scale : tuple of 2 float
        Millimetres per unit of the outline, along x and y.
    pixels : str
        Data URI.
    label : str
        Path from `svg.outline`; empty where the plane has no mask.
    """

    orientation: str
    width_mm: float
    height_mm: float
    scale: tuple[float, float]
    pixels: str
    label: str

    @property
    def sides(self) -> str:
        """Letters for the left and right border: right and left, or anterior and posterior."""
        return SIDES[self.orientation]


@dataclass(frozen=True)
class SegmentationCard:
    """A scan on the page.

    Parameters
    ----------
    name : str
    tumour_ml, brain_ml : float
    quality : float or None
        Estimate without labels, 0 to 1; None if not estimated.
    pictures : tuple of MaskPicture
    """

    name: str
    tumour_ml: float
    brain_ml: float
    quality: float | None = None
    pictures: tuple[MaskPicture, ...] = ()

    @property
    def status(self) -> str:
        """`labelled` or `empty`, as the report of a run calls it."""
        return "labelled" if self.tumour_ml else "empty"


def mask_pictures(scan: Volume, shown: np.ndarray, mask: np.ndarray) -> tuple[MaskPicture, ...]:
    """The plane of each orientation with the largest part of a mask, else the middle one.

    Parameters
    ----------
    scan : Volume
        In any orientation.
    shown : bool ndarray of scan.array's shape
        Voxels to show, such as the brain; the others are black.
    mask : bool ndarray of scan.array's shape
    """
    grid = scan.geometry
    axial = to_axial(Volume(np.where(shown, scan.array, 0.0).astype(np.float32), grid))
    head, tumour = (
        to_axial(Volume(voxels.astype(np.float32), grid)).array > 0.5 for voxels in (shown, mask)
    )
    box = _box(head | tumour)
    grey = _grey(axial.array[box], head[box])
    return tuple(
        _picture(orientation, grey, tumour[box], axial.geometry.spacing[::-1])
        for orientation in ORIENTATIONS
    )


def render_segmentations(
    cards: Sequence[SegmentationCard],
    failures: Mapping[str, str],
    *,
    network: str,
    written: str,
    version: str,
) -> str:
    """The page.

    Parameters
    ----------
    cards : sequence of SegmentationCard
        In the order of the page.
    failures : mapping of case to reason
        Scans that were skipped.
    network : str
        What made the masks.
    written, version : str
        Date, and version of this software.
    """
    volumes = [card.tumour_ml for card in cards if card.tumour_ml]
    return render(
        "segmentations.html",
        cards=cards,
        failures=failures,
        network=network,
        written=written,
        version=version,
        colour=LABEL_COLOUR,
        outline_units=OUTLINE_UNITS,
        median_ml=median(volumes) if volumes else None,
        estimated=any(card.quality is not None for card in cards),
    )


def _picture(
    orientation: str, grey: np.ndarray, mask: np.ndarray, spacing: Sequence[float]
) -> MaskPicture:
    """Picture of one orientation; arrays (plane, row, column), spacing in the same order."""
    axis = ORIENTATIONS.index(orientation)
    sizes = mask.sum(axis=tuple(other for other in range(3) if other != axis))
    at = int(sizes.argmax()) if sizes.any() else mask.shape[axis] // 2
    pixels, label = grey.take(at, axis), mask.take(at, axis)
    if orientation != "axial":  # planes go from inferior to superior, pictures from the top
        pixels, label = pixels[::-1], label[::-1]
    dy, dx = (mm for other, mm in enumerate(spacing) if other != axis)
    height, width = pixels.shape
    return MaskPicture(
        orientation,
        width * dx,
        height * dy,
        (dx / OUTLINE_UNITS, dy / OUTLINE_UNITS),
        grey_picture(pixels),
        outline(label),
    )


def _box(head: np.ndarray) -> tuple[slice, ...]:
    """Bounding box of a bool array (plane, row, column) with a margin; everything if empty."""
    if not head.any():
        return (slice(None),) * 3
    lines = (np.flatnonzero(head.any(axis=other)) for other in ((1, 2), (0, 2), (0, 1)))
    return tuple(slice(max(int(n[0]) - MARGIN, 0), int(n[-1]) + MARGIN + 1) for n in lines)


def _grey(values: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Intensities as uint8, black outside the head."""
    if not head.any():
        return np.zeros(values.shape, np.uint8)
    low, high = np.percentile(values[head], [BLACK, WHITE])
    share = np.clip((values - low) / max(high - low, 1e-6), 0, 1)
    return np.where(head, np.rint(255 * share), 0).astype(np.uint8)
