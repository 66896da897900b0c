"""The mask of a scan, as `clisc_nnunet.segment` returns it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from nibabel import Nifti1Image

from clisc_nnunet.io.geometry import Geometry
from clisc_nnunet.io.image_objects import to_nibabel
from clisc_nnunet.io.sitk_images import to_sitk
from clisc_nnunet.io.volume import write_volume


@dataclass(frozen=True, eq=False)
class Mask:
    """Tumour in a scan, on the scan's grid.

    Parameters
    ----------
    array : bool ndarray of shape (plane, row, column)
        Of a nibabel image, the transposed order of its own axes.
    probability : float32 ndarray of the same shape
        Of tumour, 0 to 1.
    brain : bool ndarray of the same shape
    geometry : Geometry
        Grid of the arrays.
    quality : float or None
        Estimate without labels, 0 to 1: agreement with SAM; not a Dice. None if it was not asked
        for, or the mask is empty.
    """

    array: np.ndarray
    probability: np.ndarray
    brain: np.ndarray
    geometry: Geometry
    quality: float | None = None

    def __repr__(self) -> str:
        """What a notebook shows: no voxels."""
        quality = "none" if self.quality is None else f"{self.quality:.2f}"
        shape = " x ".join(map(str, self.array.shape))
        return f"<Mask of {shape} voxels: tumour {self.tumour_ml:.1f} ml, quality {quality}>"

    @property
    def tumour_ml(self) -> float:
        """Volume of the tumour in millilitres."""
        return float(self.array.sum()) * self.geometry.voxel_ml

    @property
    def brain_ml(self) -> float:
        """Volume of the brain in millilitres."""
        return float(self.brain.sum()) * self.geometry.voxel_ml

    def to_sitk(self) -> sitk.Image:
        """The mask as a SimpleITK image, uint8: 0 background, 1 tumour."""
        return to_sitk(self.array, self.geometry)

    def to_nibabel(self) -> Nifti1Image:
        """The mask as a nibabel image, uint8, with the axes of the scan."""
        return to_nibabel(self.array, self.geometry)

    def save(self, path: str | Path) -> None:
        """Write the mask; the ending, such as `.nii.gz`, selects the format.

        Raises
        ------
        StorageError
            If the disk is full or the file cannot be written.
        """
        write_volume(Path(path), self.array, self.geometry)
