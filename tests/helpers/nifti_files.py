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


def write_forms(
    path: Path,
    qform: np.ndarray,
    sform: np.ndarray,
    *,
    codes: tuple[int, int],
    pixdim: Any = None,
    size: tuple[int, int, int] = (7, 6, 5),
) -> Path:
    """Write noise on background 0 with these affines (4, 4), RAS.

    `pixdim`, by default, is the qform's spacing.
    """
    q = nib.Nifti1Header()
    q.set_qform(qform, 1)
    fields = {
        name: q[name]
        for name in ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
    }
    fields["pixdim"] = q["pixdim"].copy()
    if pixdim is not None:
        fields["pixdim"][1:4] = pixdim
    fields |= {f"srow_{axis}": sform[row] for row, axis in enumerate("xyz")}
    return write_nifti(path, on_background(size), fields=fields, codes=codes)


def on_background(size: tuple[int, ...] = (7, 6, 5)) -> np.ndarray:
    """Noise with a border of zeros."""
    array = noise(size)
    inside = np.zeros(size, bool)
    inside[1:-1, 1:-1, 1:-1] = True
    return np.where(inside, array, 0).astype(array.dtype)


def affine(spacing: Any, origin: Any = (-9, 8, 7), rotation: Any = None) -> np.ndarray:
    """Affine (4, 4) from a spacing, an origin, and a rotation (3, 3)."""
    matrix = np.eye(4)
    matrix[:3, :3] = (np.eye(3) if rotation is None else rotation) * spacing
    matrix[:3, 3] = origin
    return matrix
