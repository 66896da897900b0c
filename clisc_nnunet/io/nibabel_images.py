"""Images that nibabel reads and ITK does not: NIfTI-2, FreeSurfer's MGH, wrongly named NIfTI."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.freesurfer.mghformat import MGHHeader
from nibabel.spatialimages import HeaderDataError

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.claimed_size import GZIP_RATIO, check_bytes, check_voxels
from clisc_nnunet.io.geometry import Geometry, geometry_of_steps
from clisc_nnunet.io.nifti_geometry import TO_LPS
from clisc_nnunet.io.nifti_header import NiftiFile, data_bytes, data_offset, opened

_MGH = (".mgz", ".mgh")
_MGH_HEADER_BYTES = 284


def is_mgh(path: Path) -> bool:
    """Whether a file name has the extension of FreeSurfer's format."""
    return path.name.lower().endswith(_MGH)


def read_mgh(path: Path, *, voxels: bool = True) -> tuple[np.ndarray | None, Geometry]:
    """Read a FreeSurfer file, `.mgz` or `.mgh`.

    Returns
    -------
    array : ndarray of shape (plane, row, column), or None without `voxels`
    geometry : Geometry

    Raises
    ------
    ScanError
        If it is not one 3D volume, its spacing is invalid, or the file is too small for its header.
    OSError, EOFError, zlib.error
        If the file cannot be read.
    """
    with opened(path) as (file, compressed):
        header = _mgh_header(file.read(_MGH_HEADER_BYTES))
        shape = tuple(int(n) for n in header["dims"])
        shape = shape[:3] if shape[3] == 1 else shape
        check_3d(path, shape)
        dtype = header.get_data_dtype()
        size = math.prod(shape) * dtype.itemsize
        available = path.stat().st_size * (GZIP_RATIO if compressed else 1)
        check_bytes(path, _MGH_HEADER_BYTES + size, available)
        check_voxels(path, shape)
        with np.errstate(all="ignore"):
            affine = header.get_affine().astype(float)
        if not np.isfinite(affine).all() or not np.linalg.norm(affine[:3, :3], axis=0).all():
            raise ScanError(
                path,
                "an orientation that is zero or not finite",
                "a finite position, and spacings above 0",
                "export the scan again",
            )
        geometry = geometry_of_steps(shape, TO_LPS @ affine[:3, :3], TO_LPS @ affine[:3, 3])
        if not voxels:
            return None, geometry
        content = file.read(size)
        while file.read(1 << 22):
            pass  # to the end, so that the checksum of a compressed file is compared
    if len(content) < size:
        raise OSError(f"{len(content)} bytes of voxels instead of {size}")
    array = np.frombuffer(content, dtype).reshape(shape[::-1])
    return array.astype(dtype.newbyteorder("=")), geometry


def read_nifti(path: Path, nifti: NiftiFile) -> np.ndarray:
    """Voxels of a checked NIfTI file of one 3D volume, scaled; array (plane, row, column).

    Raises
    ------
    ScanError
        If it is not of real numbers.
    """
    header, dtype = nifti.header, nifti.header.get_data_dtype()
    if dtype.kind not in "iuf":
        raise ScanError(path, "complex numbers or colours", "intensities", "save the magnitude")
    with opened(path) as (file, _):
        file.seek(data_offset(header))
        content = file.read(data_bytes(header))
    array = np.frombuffer(content, dtype).reshape(nifti.shape[::-1])
    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError:
        found = f"a scaling of {header['scl_slope']:g} x + {header['scl_inter']:g}"
        raise ScanError(path, found, "finite numbers", "export the scan again") from None
    if slope is None or (slope == 1 and not intercept):
        return array.astype(dtype.newbyteorder("="))
    with np.errstate(all="ignore"):  # what is not finite is reported with the volume
        return array * float(slope) + float(intercept or 0)


def check_3d(path: Path, shape: tuple[int, ...]) -> None:
    """Check that a header is that of one 3D volume.

    Raises
    ------
    ScanError
        If there are more or fewer axes, or one without voxels.
    """
    if len(shape) != 3:
        raise ScanError(
            path,
            f"{len(shape)}D with 1 component(s)",
            "one 3D volume",
            "extract the scan into its own file",
        )
    if min(shape) < 1:
        raise ScanError(
            path,
            f"a header of {' x '.join(map(str, shape))} voxels",
            "at least one voxel along each axis",
            "export the scan again",
        )


def _mgh_header(start: bytes) -> Any:
    header = MGHHeader(start, check=False) if len(start) == _MGH_HEADER_BYTES else None
    if header is None or int(header["version"]) != 1:
        raise OSError("no MGH header")
    try:
        header.get_data_dtype()
    except KeyError:
        raise OSError(f"an unknown data type, {int(header['type'])}") from None
    return header
