"""Stage 1: from a volume to axial 8-bit slices, by one function for every stage and training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.volume import Geometry, Volume, resample, to_axial
from clisc_nnunet.settings import SliceSettings

# Brain voxels start at this grey value, so that dark brain and background stay apart.
DARKEST_BRAIN = 20
# Margin between the brain and the rim of a square frame, on each side.
FRAME_MARGIN_MM = 3.0


@dataclass(frozen=True)
class SliceStack:
    """The slices of one case.

    Parameters
    ----------
    pixels : uint8 ndarray of shape (plane, row, column)
        Inferior to superior, row towards posterior, column towards left. Background 0.
    brain : bool ndarray of the same shape
    geometry : Geometry
        Where these pixels lie in the patient.
    """

    pixels: np.ndarray
    brain: np.ndarray
    geometry: Geometry

    @property
    def planes_with_brain(self) -> np.ndarray:
        """Indices of the planes that are worth a look: brain on at least 1 % of the frame."""
        return np.flatnonzero(self.brain.mean(axis=(1, 2)) >= 0.01)


def brain_mask(array: np.ndarray) -> np.ndarray:
    """Voxels that differ from the background, the value that most of the volume's rim has.

    Parameters
    ----------
    array : float ndarray of shape (plane, row, column)

    Returns
    -------
    bool ndarray of the same shape
        For a skull-stripped scan the brain; else whatever the scanner's background is not.
    """
    return array != background_value(array)


def background_value(array: np.ndarray) -> float:
    """The most frequent value on the faces of a volume (plane, row, column)."""
    faces = [array.take(end, axis).ravel() for axis in range(3) for end in (0, -1)]
    values, counts = np.unique(np.concatenate(faces), return_counts=True)
    return float(values[counts.argmax()])


def scale_to_8bit(array: np.ndarray, brain: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scale intensities robustly to 8 bit.

    Parameters
    ----------
    array : float ndarray
        Intensities, any shape.
    brain : bool ndarray of the same shape
    low, high : float
        Percentiles of the brain's intensities that become the darkest and the brightest value.

    Returns
    -------
    uint8 ndarray of the same shape
        Background 0, brain `DARKEST_BRAIN` to 255.

    Notes
    -----
    Scaling must span the volume, not the slice: scaled one by one, a healthy slice looks as
    bright as one with a tumour.
    """
    if not brain.any():
        return np.zeros(array.shape, np.uint8)
    darkest, brightest = np.percentile(array[brain], [low, high])
    share = np.clip((array - darkest) / max(brightest - darkest, 1e-6), 0.0, 1.0)
    return np.where(brain, np.rint(DARKEST_BRAIN + (255 - DARKEST_BRAIN) * share), 0).astype(
        np.uint8
    )


def make_slices(
    volume: Volume, settings: SliceSettings, brain: np.ndarray | None = None
) -> SliceStack:
    """Cut a scan into axial slices, whatever axes it was acquired on.

    Parameters
    ----------
    volume : Volume
    settings : SliceSettings
    brain : bool ndarray of the volume's shape, optional
        Voxels to look at; by default `brain_mask`.

    Returns
    -------
    SliceStack

    Raises
    ------
    ScanError
        If nothing but background is left.
    """
    mask = brain_mask(volume.array) if brain is None else brain
    # Background may have any value: zero makes it harmless for the interpolation.
    axial = to_axial(Volume(np.where(mask, volume.array, 0.0), volume.geometry))
    axial_mask = to_axial(Volume(mask.astype(np.float32), volume.geometry)).array
    if not axial_mask.any():
        raise ScanError("scan", "background only", "a brain", "check this scan")
    frame = slice_frame(axial.geometry, axial_mask > 0.5, settings)
    share = resample(axial_mask, axial.geometry, frame)
    inside = share > 0.5
    # Divided by the share of brain, a voxel at the rim is not darkened by the background.
    values = resample(axial.array, axial.geometry, frame) / np.maximum(share, 0.5)
    if settings.scaling == "volume":
        pixels = scale_to_8bit(values, inside, settings.low_percentile, settings.high_percentile)
    else:
        pixels = _scale_each_slice(values, inside, settings)
    return SliceStack(pixels, inside, frame)


def slice_frame(geometry: Geometry, brain: np.ndarray, settings: SliceSettings) -> Geometry:
    """Grid of the slices: round the brain's box, in the axes of an axial volume.

    Parameters
    ----------
    geometry : Geometry
        Of the axial volume.
    brain : bool ndarray of shape geometry.shape
    settings : SliceSettings

    Returns
    -------
    Geometry
    """
    extent = [np.flatnonzero(brain.any(axis=other)) for other in ((0, 1), (0, 2), (1, 2))]
    first = np.array([e[0] for e in extent], float)  # column, row, plane
    last = np.array([e[-1] for e in extent], float)
    spacing = np.asarray(geometry.spacing)
    box_mm = (last - first + 1) * spacing

    plane_mm = max(spacing[2], settings.plane_mm)
    planes = int(np.ceil(box_mm[2] / plane_mm))
    if settings.frame == "square":
        pixel = max(settings.pixel_mm, (box_mm[:2].max() + 2 * FRAME_MARGIN_MM) / settings.pixels)
        new_spacing = np.array([pixel, pixel, plane_mm])
    else:
        new_spacing = np.array([*(box_mm[:2] / settings.pixels), plane_mm])
    new_size = np.array([settings.pixels, settings.pixels, planes])

    # The frame's centre is the box's centre.
    centre_index = (first + last) / 2
    axes = np.asarray(geometry.direction).reshape(3, 3)
    centre = np.asarray(geometry.origin) + axes @ (centre_index * spacing)
    origin = centre - axes @ ((new_size - 1) / 2 * new_spacing)
    columns, rows, depth = new_size.tolist()
    dx, dy, dz = new_spacing.tolist()
    x, y, z = origin.tolist()
    return Geometry((columns, rows, depth), (dx, dy, dz), (x, y, z), geometry.direction)


def to_scan_grid(
    array: np.ndarray, stack: SliceStack, scan: Geometry, outside: float
) -> np.ndarray:
    """Bring what was found on the slices back to the scan's own grid.

    Parameters
    ----------
    array : ndarray of shape stack.pixels.shape
        Logits of a mask, or a CAM.
    stack : SliceStack
    scan : Geometry
    outside : float
        Value of voxels that no slice covers.

    Returns
    -------
    float32 ndarray of shape scan.shape
    """
    return resample(array, stack.geometry, scan, outside=outside)


def mask_on_slices(mask: np.ndarray, scan: Geometry, stack: SliceStack) -> np.ndarray:
    """Bring a mask of the scan onto its slices.

    Parameters
    ----------
    mask : bool ndarray of shape scan.shape
    scan : Geometry
    stack : SliceStack

    Returns
    -------
    bool ndarray of shape stack.pixels.shape
    """
    axial = to_axial(Volume(mask.astype(np.float32), scan))
    return resample(axial.array, axial.geometry, stack.geometry) > 0.5


def _scale_each_slice(values: np.ndarray, brain: np.ndarray, settings: SliceSettings) -> np.ndarray:
    """The paper's scaling: the volume clipped, z-scored, then each slice over its own range.

    The z-score drops out of a min-max scaling, so it is not computed.
    """
    low, high = np.percentile(values[brain], [settings.low_percentile, settings.high_percentile])
    clipped = np.where(brain, np.clip(values, low, high), 0.0)
    return np.stack(
        [
            scale_to_8bit(plane, inside, 0.0, 100.0)
            for plane, inside in zip(clipped, brain, strict=True)
        ]
    )
