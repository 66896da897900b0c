"""Validation of NIfTI headers before ITK reads the voxels, since ITK silently repairs errors.

ITK turns a spacing of 0 into 1 mm, a negative one into a positive one, and fills the missing voxels
of a truncated file with 0.
"""

from __future__ import annotations

import gzip
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.spatialimages import HeaderDataError

from clisc_nnunet.errors import ScanError

ENDINGS = (".nii", ".nii.gz")
_HEADER_BYTES, _HEADER_BYTES_2 = 348, 540
# From NIfTI's RAS to the LPS of DICOM and ITK.
_TO_LPS = np.diag([-1.0, -1.0, 1.0])


def is_nifti(path: Path) -> bool:
    """Whether a file name has a NIfTI extension."""
    return path.name.lower().endswith(ENDINGS)


def check_nifti(path: Path, *, voxels: bool = True) -> tuple[np.ndarray, np.ndarray] | None:
    """Check the header of a NIfTI file, and whether the file is complete.

    Parameters
    ----------
    path : Path
        A `.nii` or `.nii.gz` file.
    voxels : bool
        Read the complete file, to check that no voxels are missing.

    Returns
    -------
    tuple of (float ndarray of shape (3, 3), float ndarray of shape (3,)), or None
        Vectors to the next column, row and plane, as columns, and the origin, in millimetres,
        LPS, from the sform; None if there is no sform.

    Raises
    ------
    ScanError
        If sizes, data type, spacing or orientation are invalid.
    OSError, EOFError, zlib.error
        If the file cannot be read, or is shorter than the header states.
    """
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        start = file.read(_HEADER_BYTES)
        header = _parsed(path, start)
        _check_sizes(path, header)
        if voxels:
            length = len(start) + sum(len(block) for block in iter(lambda: file.read(1 << 22), b""))
            _check_length(header, length)
    _check_spacing(path, header)
    return _sform(path, header)


def _parsed(path: Path, start: bytes) -> Any:
    """Header in either byte order; only its version is checked."""
    sizes = {int(np.frombuffer(start[:4].ljust(4, b"\0"), order)[0]) for order in ("<i4", ">i4")}
    if _HEADER_BYTES_2 in sizes:
        raise ScanError(path, "NIfTI-2", "NIfTI-1, which ITK can read", "convert the file")
    if _HEADER_BYTES not in sizes or len(start) < _HEADER_BYTES:
        raise OSError("no NIfTI header")
    return Nifti1Header.from_fileobj(io.BytesIO(start), check=False)


def _check_sizes(path: Path, header: Any) -> None:
    count, *sizes = (int(n) for n in header["dim"])
    if not 1 <= count <= 7 or any(n < 1 for n in sizes[:count]):
        raise ScanError(
            path,
            f"a header with {count} axes of {sizes} voxels",
            "three axes of at least one voxel",
            "export the scan again",
        )
    try:
        header.get_data_dtype()
    except (HeaderDataError, KeyError):  # nibabel raises either for an unknown code
        raise ScanError(
            path,
            f"a header with data type {int(header['datatype'])}",
            "a data type of the NIfTI standard",
            "export the scan again",
        ) from None


def _check_length(header: Any, length: int) -> None:
    count, *sizes = (int(n) for n in header["dim"])
    needed = int(header["vox_offset"]) + math.prod(sizes[:count]) * int(header["bitpix"]) // 8
    if length < needed:
        raise OSError(f"{length} bytes instead of the {needed} that the header states")


def _check_spacing(path: Path, header: Any) -> None:
    spacing = header["pixdim"][1 : 1 + min(int(header["dim"][0]), 3)].astype(float)
    if not np.all(np.isfinite(spacing) & (spacing > 0)):
        raise ScanError(
            path,
            f"a voxel spacing of {', '.join(f'{value:g}' for value in spacing)} mm",
            "spacings above 0",
            "fix pixdim in the header, or export the scan again",
        )


def _sform(path: Path, header: Any) -> tuple[np.ndarray, np.ndarray] | None:
    numbers = []
    if int(header["qform_code"]) > 0:
        numbers += [header[f"quatern_{axis}"] for axis in "bcd"]
        numbers += [header[f"qoffset_{axis}"] for axis in "xyz"]
    rows = np.stack([header[f"srow_{axis}"] for axis in "xyz"]).astype(float)
    if int(header["sform_code"]) > 0:
        numbers += rows.ravel().tolist()
    if not np.all(np.isfinite(numbers)):
        raise ScanError(
            path,
            "an orientation that is not finite",
            "a finite qform and sform",
            "fix the header, or export the scan again",
        )
    if int(header["sform_code"]) <= 0:
        return None
    return _TO_LPS @ rows[:, :3], _TO_LPS @ rows[:, 3]
