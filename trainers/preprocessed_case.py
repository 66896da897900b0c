"""Where nnU-Net's preprocessed voxels lie in the patient, so that SAM sees slices as always.

SAM was trained on axial slices of one pixel size, whatever axes and spacing a plan has chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clisc_nnunet.io.volume import Geometry, Volume, resample
from clisc_nnunet.settings import SliceSettings
from clisc_nnunet.stages.brain_extraction import extract_brain
from clisc_nnunet.stages.slice_extraction import SliceStack, make_slices, mask_on_slices

_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def preprocessed_geometry(
    properties: Mapping[str, Any], shape: Sequence[int], transpose_backward: Sequence[int]
) -> Geometry:
    """Geometry of a preprocessed array, once its axes are turned back to the file's order.

    Parameters
    ----------
    properties : mapping
        nnU-Net's properties of the case.
    shape : sequence of 3 int
        Of the preprocessed array, in the plan's order of axes.
    transpose_backward : sequence of 3 int
        The plan's.

    Returns
    -------
    Geometry
        Of `array.transpose(transpose_backward)`. A reader that leaves neither SimpleITK's nor
        nibabel's geometry in the properties is taken to read axial planes.
    """
    back = list(transpose_backward)
    now = np.array(shape, float)[back]
    cropped = np.array(properties["shape_after_cropping_and_before_resampling"], float)[back]
    first = np.array([low for low, _ in properties["bbox_used_for_cropping"]], float)[back]
    direction, origin = _direction_and_origin(properties)
    old_spacing = np.array(properties["spacing"], float)  # plane, row, column
    step = cropped / now
    # The new grid has the old one's outer faces, so that its first centre lies elsewhere.
    start = (first + (step - 1) / 2) * old_spacing
    axes = np.array(direction).reshape(3, 3)
    x, y, z = (origin + axes @ start[::-1]).tolist()
    dz, dy, dx = (old_spacing * step).tolist()
    planes, rows, columns = (int(n) for n in now)
    return Geometry((columns, rows, planes), (dx, dy, dz), (x, y, z), direction)


def scan_geometry(properties: Mapping[str, Any], transpose_backward: Sequence[int]) -> Geometry:
    """Geometry of the scan that was preprocessed, as its reader had it.

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
    """Direction cosines and origin of the scan as its reader left them, in LPS coordinates."""
    if "sitk_stuff" in properties:
        itk = properties["sitk_stuff"]
        return tuple(map(float, itk["direction"])), np.array(itk["origin"], float)
    if "nibabel_stuff" in properties:
        known = properties["nibabel_stuff"]
        # nibabel's coordinates are RAS.
        to_lps = np.diag([-1.0, -1.0, 1.0])
        affine = np.asarray(known.get("reoriented_affine", known["original_affine"]), float)
        columns = to_lps @ affine[:3, :3]
        axes = columns / np.linalg.norm(columns, axis=0)
        return tuple(axes.ravel().tolist()), to_lps @ affine[:3, 3]
    return _IDENTITY, np.zeros(3)


class PreprocessedCase:
    """One preprocessed case and its slices.

    Parameters
    ----------
    image : float32 ndarray
        Channel from which SAM draws, in the plan's order of axes.
    inside : bool ndarray of the same shape
        Voxels that nnU-Net did not crop away as background.
    properties : mapping
    transpose_backward : sequence of 3 int
    settings : SliceSettings
        Of the pseudo-labels, so that SAM sees what it saw then.
    kept : SliceStack, optional
        The very slices it saw then; without them they are cut of the preprocessed image.
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
        self._geometry = preprocessed_geometry(properties, image.shape, transpose_backward)
        self.stack = kept or self._cut(image, inside, settings)
        self._forward = tuple(int(axis) for axis in np.argsort(self._back))

    def _cut(self, image: np.ndarray, inside: np.ndarray, settings: SliceSettings) -> SliceStack:
        volume = Volume(image.transpose(self._back), self._geometry)
        brain = extract_brain(volume, settings, inside.transpose(self._back))
        return make_slices(volume, settings, brain)

    @property
    def voxel_ml(self) -> float:
        """Volume of a preprocessed voxel in millilitres."""
        return self._geometry.voxel_ml

    def on_slices(self, mask: np.ndarray) -> np.ndarray:
        """A mask, bool in the plan's order of axes, on the grid of the slices."""
        return mask_on_slices(mask.transpose(self._back), self._geometry, self.stack)

    def from_slices(self, mask: np.ndarray) -> np.ndarray:
        """Inverse of `on_slices`, as far as the grids allow."""
        drawn = mask.astype(np.float32)
        back = resample(drawn, self.stack.geometry, self._geometry, outside=0.0)
        return (back > 0.5).transpose(self._forward)
