"""NIfTI files with arbitrary headers, including ones that no library would write."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

AXES = np.diag([2.0, 2.5, 3.0])


def write_nifti(
    path: Path,
    array: np.ndarray,
    axes: np.ndarray = AXES,
    fields: Mapping[str, Any] | None = None,
    codes: tuple[int, int] = (0, 1),
) -> Path:
    """Write an array (x, y, z) with axes (3, 3) in RAS as its sform.

    `fields` replace those of the header; `codes` are those of qform and sform.
    """
    header = nib.Nifti1Header()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    header["pixdim"][1:4] = np.linalg.norm(axes, axis=0)
    header["srow_x"], header["srow_y"], header["srow_z"] = np.column_stack([axes, [-9, 8, 7]])
    header["qform_code"], header["sform_code"] = codes
    header["vox_offset"], header["magic"] = 352, b"n+1"
    for name, value in (fields or {}).items():
        header[name] = value
    content = header.binaryblock + bytes(4) + array.tobytes("F")
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    return path


def noise(size: tuple[int, ...] = (7, 6, 5), dtype: Any = np.float32) -> np.ndarray:
    """An array without a constant plane."""
    return np.random.default_rng(0).integers(0, 100, size).astype(dtype)
