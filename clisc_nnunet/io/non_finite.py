"""NaN and infinite voxels of NIfTI files, which ITK replaces by 0 without a word."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from clisc_nnunet.io.nifti_header import is_nifti


def with_non_finite(path: Path, array: np.ndarray) -> np.ndarray:
    """Mark as NaN the voxels that are not finite in the file.

    Parameters
    ----------
    array : ndarray of shape (plane, row, column)
        Voxels as ITK has read them.
    """
    if array.dtype.kind != "f" or not is_nifti(path):
        return array
    stored = np.asanyarray(nib.Nifti1Image.from_filename(path).dataobj).T.reshape(array.shape)
    return np.where(np.isfinite(stored), array, np.nan)
