"""Geometry of nnU-Net's preprocessed arrays, and their conversion to the slices that SAM expects.

SAM needs axial slices of a fixed pixel size, independent of the plan's axis order and spacing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from clisc_nnunet.inference.volume_predictor import VolumePredictor, brain_probability
from clisc_nnunet.io.volume import Geometry, Volume, resample
from clisc_nnunet.settings import SliceSettings
from clisc_nnunet.stages.brain_extraction import extract_brain
from clisc_nnunet.stages.slice_extraction import SliceStack, make_slices, mask_on_slices

_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def preprocessed_geometry(
    properties: Mapping[str, Any], shape: Sequence[int], transpose_backward: Sequence[int]
) -> Geometry:
    """Geometry of a preprocessed array after transposing its axes back to the file's order.

    Parameters
    ----------
    properties : mapping
        nnU-Net's properties of the case.
    shape : sequence of 3 int
        Shape of the preprocessed array, in the plan's axis order.
    transpose_backward : sequence of 3 int
        Entry of the plan.

    Returns
    -------
    Geometry
        Geometry of `array.transpose(transpose_backward)`. Axial planes are assumed if the
        properties have neither the geometry of SimpleITK nor that of nibabel.
    """
    back = list(transpose_backward)
    now = np.array(shape, float)[back]
    cropped = np.array(properties["shape_after_cropping_and_before_resampling"], float)[back]
    first = np.array([low for low, _ in properties["bbox_used_for_cropping"]], float)[back]
    direction, origin = _direction_and_origin(properties)
    old_spacing = np.array(properties["spacing"], float)  # plane, row, column
    step = cropped / now
    # Resampling keeps the outer faces of the grid, which shifts the first voxel centre.
    start = (first + (step - 1) / 2) * old_spacing
    axes = np.array(direction).reshape(3, 3)
    x, y, z = (origin + axes @ start[::-1]).tolist()
    dz, dy, dx = (old_spacing * step).tolist()
    planes, rows, columns = (int(n) for n in now)
    return Geometry((columns, rows, planes), (dx, dy, dz), (x, y, z), direction)


def scan_geometry(properties: Mapping[str, Any], transpose_backward: Sequence[int]) -> Geometry:
    """Geometry of the scan before preprocessing, as read from the file.

    Parameters
    ----------
    properties, transpose_backward
        As for `preprocessed_geometry`.
    """
    shape = np.array(properties["shape_before_cropping"])[list(transpose_backward)]
    planes, rows, columns = shape.tolist()
    dz, dy, dx = (float(value) for value in properties["spacing"])
    direction, origin = _direction_and_origin(properties)
    x, y, z = origin.tolist()
    return Geometry((columns, rows, planes), (dx, dy, dz), (x, y, z), direction)


def _direction_and_origin(properties: Mapping[str, Any]) -> tuple[tuple[float, ...], np.ndarray]:
    """Direction cosines and origin of the scan in LPS coordinates."""
    if "sitk_stuff" in properties:
        itk = properties["sitk_stuff"]
        return tuple(map(float, itk["direction"])), np.array(itk["origin"], float)
    if "nibabel_stuff" in properties:
        known = properties["nibabel_stuff"]
        # nibabel uses RAS coordinates.
        to_lps = np.diag([-1.0, -1.0, 1.0])
        affine = np.asarray(known.get("reoriented_affine", known["original_affine"]), float)
        columns = to_lps @ affine[:3, :3]
        axes = columns / np.linalg.norm(columns, axis=0)
        return tuple(axes.ravel().tolist()), to_lps @ affine[:3, 3]
    return _IDENTITY, np.zeros(3)


class PreprocessedCase:
    """A preprocessed case and its slices.

    Parameters
    ----------
    image : float32 ndarray
        Channel shown to SAM, in the plan's axis order.
    inside : bool ndarray of the same shape
        Voxels that nnU-Net did not mark as outside of the brain.
    properties : mapping
        nnU-Net's properties of the case.
    transpose_backward : sequence of 3 int
        Entry of the plan.
    settings : SliceSettings
        Settings of the pseudo-labels.
    kept : SliceStack, optional
        Stored slices of the pseudo-label; without them, slices are extracted from `image`.
    """

    def __init__(
        self,
        image: np.ndarray,
        inside: np.ndarray,
        properties: Mapping[str, Any],
        transpose_backward: Sequence[int],
        settings: SliceSettings,
        kept: SliceStack | None = None,
    ) -> None:
        self._back = tuple(transpose_backward)
        self._forward = tuple(int(axis) for axis in np.argsort(self._back))
        self._geometry = preprocessed_geometry(properties, image.shape, transpose_backward)
        self._image, self._inside, self._settings, self._kept = image, inside, settings, kept

    @cached_property
    def stack(self) -> SliceStack:
        """The slices; extracted when they are first asked for, if none are stored."""
        if self._kept is not None:
            return self._kept
        brain = extract_brain(self._scan, self._settings, self._inside.transpose(self._back))
        return make_slices(self._scan, self._settings, brain)

    @property
    def _scan(self) -> Volume:
        return Volume(self._image.transpose(self._back), self._geometry)

    @property
    def voxel_ml(self) -> float:
        """Volume of a preprocessed voxel in millilitres."""
        return self._geometry.voxel_ml

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres, in the plan's axis order."""
        plane_row_column = self._geometry.spacing[::-1]
        return tuple(plane_row_column[axis] for axis in self._forward)

    @property
    def brain(self) -> np.ndarray:
        """Brain of the slices, bool in the plan's axis order."""
        return self.from_slices(self.stack.brain) & self._inside

    def probability(self, predictor: VolumePredictor) -> np.ndarray:
        """Probability of tumour by a network with plans of its own, float32 in the plan's order."""
        found = brain_probability(predictor, self._scan, self.brain.transpose(self._back))
        return found.transpose(self._forward)

    def on_slices(self, mask: np.ndarray) -> np.ndarray:
        """Resample a mask, bool in the plan's axis order, to the grid of the slices."""
        return mask_on_slices(mask.transpose(self._back), self._geometry, self.stack)

    def from_slices(self, mask: np.ndarray) -> np.ndarray:
        """Resample a mask from the grid of the slices; inverse of `on_slices` up to rounding."""
        return self.values_from_slices(mask) > 0.5

    def values_from_slices(self, values: np.ndarray) -> np.ndarray:
        """Like `from_slices` for values, which are 0 outside; float32."""
        shown = values.astype(np.float32)
        back = resample(shown, self.stack.geometry, self._geometry, outside=0.0)
        return back.transpose(self._forward)
