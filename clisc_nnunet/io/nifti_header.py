"""Validation of NIfTI files before ITK reads the voxels, since ITK silently repairs errors.

ITK turns a spacing of 0 into 1 mm, a negative one into a positive one, and voxels that are not
finite, or missing at the end of a truncated file, into 0.
"""

from __future__ import annotations

import gzip
import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.claimed_size import GZIP_RATIO, check_bytes, check_voxels

ENDINGS = (".nii", ".nii.gz")
# Versions of the format by the length of their headers, which is the first number of a file.
_HEADERS: dict[int, Any] = {348: Nifti1Header, 540: Nifti2Header}
_GZIP = b"\x1f\x8b"
# A multiple of the size of every number type.
_BLOCK = 1 << 22
# Extensions of a header lie before the voxels.
_MAX_OFFSET = 1 << 28
# Larger numbers are not finite in single precision, and smaller inverse ones zero.
_HUGE = 3e38


@dataclass(frozen=True)
class NiftiFile:
    """A NIfTI file whose header is valid.

    Parameters
    ----------
    header : nibabel Nifti1Header or Nifti2Header
    needs_nibabel : str
        Why nibabel reads the file: what ITK cannot read, or only under another name; else empty.
    not_finite : int ndarray of shape (n,)
        Voxels that are NaN or infinite, in the order of the file; empty if they were not read.
    """

    header: Any
    needs_nibabel: str = ""
    not_finite: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels along the axes of the header, x first; those of length 1 at the end,
        from the fourth on, are left out.
        """
        count, *sizes = (int(n) for n in self.header["dim"])
        kept = max((n for n in range(count) if sizes[n] > 1 or n < 3), default=0) + 1
        return tuple(sizes[:kept])


def is_nifti(path: Path) -> bool:
    """Whether a file name has a NIfTI extension."""
    return path.name.lower().endswith(ENDINGS)


def check_nifti(path: Path, *, voxels: bool = True) -> NiftiFile:
    """Check the header of a NIfTI file, and whether the file is complete.

    Parameters
    ----------
    path : Path
        A `.nii` or `.nii.gz` file, compressed or not, whatever its name says.
    voxels : bool
        Read the complete file, to check that no voxels are missing and all are finite.

    Returns
    -------
    NiftiFile

    Raises
    ------
    ScanError
        If sizes, data type, spacing or orientation are invalid, or the file is too small for them.
    OSError, EOFError, zlib.error
        If the file cannot be read, or is shorter than the header states.
    """
    with opened(path) as (file, compressed):
        header = _parsed(path, file)
        _check_sizes(path, header)
        _check_claim(path, header, compressed)
        _check_spacing(path, header)
        _check_orientation(path, header)
        not_finite = _read_through(header, file) if voxels else np.empty(0, np.int64)
    return NiftiFile(header, _needs_nibabel(path, header, compressed), not_finite)


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, bool]]:
    """A file opened for reading, decompressed if it is compressed, and whether it is."""
    with path.open("rb") as raw:
        compressed = raw.read(2) == _GZIP
        raw.seek(0)
        if not compressed:
            yield raw, False
            return
        with gzip.open(raw) as file:
            yield file, True  # type: ignore[misc]  # a GzipFile is read like any other


def data_offset(header: Any) -> int:
    """Position of the first voxel in a (decompressed) file, as nifti_clib takes it."""
    return max(int(header["vox_offset"]), int(header["sizeof_hdr"]))


def data_bytes(header: Any) -> int:
    """Size of all voxels, by shape and data type: `bitpix` may say anything."""
    count, *sizes = (int(n) for n in header["dim"])
    return math.prod(sizes[:count]) * header.get_data_dtype().itemsize


def _parsed(path: Path, file: BinaryIO) -> Any:
    """Header in either byte order and version; nothing else is checked."""
    start = file.read(4)
    lengths = {int(np.frombuffer(start.ljust(4, b"\0"), order)[0]) for order in ("<i4", ">i4")}
    length = next(iter(lengths & _HEADERS.keys()), 0)
    content = start + file.read(length - 4) if length else b""
    if not length or len(content) < length:
        raise OSError("no NIfTI header")
    header = _HEADERS[length].from_fileobj(io.BytesIO(content), check=False)
    magic = bytes(header["magic"].item())
    if not magic.startswith((b"n+1", b"n+2")):
        raise ScanError(
            path,
            f"the magic bytes {magic!r}, of a header without voxels or an Analyze file",
            "NIfTI with its voxels in the same file",
            "convert it to .nii.gz",
        )
    return header


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
        known = header.get_data_dtype().itemsize > 0
    except (HeaderDataError, KeyError):  # nibabel raises either for an unknown code
        known = False
    if not known:
        raise ScanError(
            path,
            f"a header with data type {int(header['datatype'])}",
            "a data type of the NIfTI standard",
            "export the scan again",
        )


def _check_claim(path: Path, header: Any, compressed: bool) -> None:
    offset = float(header["vox_offset"])
    if not 0 <= offset < _MAX_OFFSET:  # NaN, too
        raise ScanError(
            path,
            f"voxels that begin at byte {offset:g}",
            "a position inside the file",
            "fix vox_offset in the header, or export the scan again",
        )
    needed, size = data_offset(header) + data_bytes(header), path.stat().st_size
    if compressed:
        check_bytes(path, needed, size * GZIP_RATIO)
    elif size < needed:
        raise OSError(f"{size} bytes instead of the {needed} that the header states")
    count, *sizes = (int(n) for n in header["dim"])
    check_voxels(path, sizes[:count])


def _check_spacing(path: Path, header: Any) -> None:
    spacing = header["pixdim"][1 : 1 + min(int(header["dim"][0]), 3)].astype(float)
    if not np.all((spacing > 1 / _HUGE) & (spacing < _HUGE)):
        raise ScanError(
            path,
            f"a voxel spacing of {', '.join(f'{value:g}' for value in spacing)} mm",
            "spacings above 0",
            "fix pixdim in the header, or export the scan again",
        )


def _check_orientation(path: Path, header: Any) -> None:
    fields: list[str] = []
    if int(header["qform_code"]) > 0:
        fields += ["quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"]
    if int(header["sform_code"]) > 0:
        fields += ["srow_x", "srow_y", "srow_z"]
    if not all((np.abs(header[name]) < _HUGE).all() for name in fields):  # NaN, too
        raise ScanError(
            path,
            "an orientation that is not finite",
            "a finite qform and sform",
            "fix the header, or export the scan again",
        )


def _read_through(header: Any, file: BinaryIO) -> np.ndarray:
    """Read a file to its end; positions of voxels that are not finite, int (n,).

    Raises
    ------
    OSError
        If voxels are missing.
    """
    dtype, count = header.get_data_dtype(), data_bytes(header) // header.get_data_dtype().itemsize
    offset = data_offset(header)
    length = file.tell() + len(file.read(offset - file.tell()))
    read, found = 0, []
    while block := file.read(_BLOCK):
        if dtype.kind == "f" and read < count:
            values = np.frombuffer(block, dtype, min(len(block) // dtype.itemsize, count - read))
            finite = np.isfinite(values)
            if not finite.all():
                found.append(np.flatnonzero(~finite) + read)
            read += len(values)
        length += len(block)
    needed = offset + data_bytes(header)
    if length < needed:
        raise OSError(f"{length} bytes instead of the {needed} that the header states")
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _needs_nibabel(path: Path, header: Any, compressed: bool) -> str:
    if isinstance(header, Nifti2Header):
        return "NIfTI-2"
    if compressed != path.name.lower().endswith(".gz"):
        return "a compressed file named .nii" if compressed else "a .nii.gz without compression"
    return ""
