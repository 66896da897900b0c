"""Stage 1: axial 8-bit slices of a volume, and resampling between slices and scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.volume import Geometry, Volume, resample, to_axial
from clisc_nnunet.settings import SliceSettings

# Darkest grey value of brain voxels, so that dark brain differs from the background.
DARKEST_BRAIN = 20
# Smallest margin between the brain and the border of a square frame.
FRAME_MARGIN_MM = 3.0


@dataclass(frozen=True)
class SliceStack:
    """Axial slices of one case.

    Parameters
    ----------
    pixels : uint8 ndarray of shape (plane, row, column)
        Planes from inferior to superior, rows towards posterior, columns towards left;
        background is 0.
    brain : bool ndarray of the same shape
    geometry : Geometry
        Grid of the slices in patient space.
    """

    pixels: np.ndarray
    brain: np.ndarray
    geometry: Geometry

    @property
    def planes_with_brain(self) -> np.ndarray:
        """Indices of planes to process, int (n,): those with brain on at least 1 % of the frame."""
        return np.flatnonzero(self.brain.mean(axis=(1, 2)) >= 0.01)


def foreground_mask(array: np.ndarray) -> np.ndarray:
    """Voxels that differ from the background, the most frequent value on the volume's faces.

    Parameters
    ----------
    array : float ndarray of shape (plane, row, column)

    Returns
    -------
    bool ndarray of the same shape
        The brain of a skull-stripped scan; otherwise everything but constant background.
    """
    return array != background_value(array)


def background_value(array: np.ndarray) -> float:
    """The most frequent value on the faces of a volume (plane, row, column)."""
    faces = [array.take(end, axis).ravel() for axis in range(3) for end in (0, -1)]
    values, counts = np.unique(np.concatenate(faces), return_counts=True)
    return float(values[counts.argmax()])


def scale_to_8bit(array: np.ndarray, brain: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scale intensities to 8 bit between two percentiles.

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
    Percentiles of the volume are preferable to those of each slice: scaled individually, a healthy
    slice becomes as bright as one with a tumour.
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
    """Extract axial slices of a scan in any orientation.

    Parameters
    ----------
    volume : Volume
    settings : SliceSettings
    brain : bool ndarray of the volume's shape, optional
        Voxels to keep; by default `foreground_mask(volume.array)`.

    Returns
    -------
    SliceStack

    Raises
    ------
    ScanError
        If there is only background.
    """
    mask = foreground_mask(volume.array) if brain is None else brain
    # Background may have any value; zero lets the interpolation below correct for it.
    axial = to_axial(Volume(np.where(mask, volume.array, 0.0), volume.geometry))
    axial_mask = to_axial(Volume(mask.astype(np.float32), volume.geometry)).array
    if not axial_mask.any():
        raise ScanError("scan", "background only", "a brain", "check this scan")
    frame = slice_frame(axial.geometry, axial_mask > 0.5, settings)
    share = resample(axial_mask, axial.geometry, frame)
    inside = share > 0.5
    # Dividing by the share of brain removes the darkening of border voxels by the background.
    values = resample(axial.array, axial.geometry, frame) / np.maximum(share, 0.5)
    if settings.scaling == "volume":
        pixels = scale_to_8bit(values, inside, settings.low_percentile, settings.high_percentile)
    else:
        pixels = _scale_each_slice(values, inside, settings)
    return SliceStack(pixels, inside, frame)


def slice_frame(geometry: Geometry, brain: np.ndarray, settings: SliceSettings) -> Geometry:
    """Grid of the slices: around the brain's bounding box, with the axes of an axial volume.

    Parameters
    ----------
    geometry : Geometry
        Grid of the axial volume.
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

    # Frame and box have the same centre.
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
    """Resample a result on the slices to the grid of the scan.

    Parameters
    ----------
    array : ndarray of shape stack.pixels.shape
        Logits of a mask, or a CAM.
    stack : SliceStack
    scan : Geometry
        Grid of the scan.
    outside : float
        Value of voxels outside the slices.

    Returns
    -------
    float32 ndarray of shape scan.shape
    """
    return resample(array, stack.geometry, scan, outside=outside)


def mask_on_slices(mask: np.ndarray, scan: Geometry, stack: SliceStack) -> np.ndarray:
    """Resample a mask of the scan to its slices.

    Parameters
    ----------
    mask : bool ndarray of shape scan.shape
    scan : Geometry
        Grid of the scan.
    stack : SliceStack

    Returns
    -------
    bool ndarray of shape stack.pixels.shape
    """
    axial = to_axial(Volume(mask.astype(np.float32), scan))
    return resample(axial.array, axial.geometry, stack.geometry) > 0.5


def _scale_each_slice(values: np.ndarray, brain: np.ndarray, settings: SliceSettings) -> np.ndarray:
    """The paper's scaling: clip the volume, then min-max scale each slice.

    The paper's z-score in between has no effect on a min-max scaling and is omitted.
    """
    low, high = np.percentile(values[brain], [settings.low_percentile, settings.high_percentile])
    clipped = np.where(brain, np.clip(values, low, high), 0.0)
    return np.stack(
        [
            scale_to_8bit(plane, inside, 0.0, 100.0)
            for plane, inside in zip(clipped, brain, strict=True)
        ]
    )
