"""Read, write, reorient and resample scans.

Arrays are (plane, row, column), as returned by SimpleITK; `Geometry` has SimpleITK's own order
(x, y, z) = (column, row, plane), in millimetres and the LPS coordinates of DICOM.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.atomic_write import atomic_file
from clisc_nnunet.io.claimed_size import check_extent
from clisc_nnunet.io.detached_data import data_files
from clisc_nnunet.io.dicom_series import Series
from clisc_nnunet.io.dicom_volume import geometry_unlike_itk, read_series
from clisc_nnunet.io.geometry import (
    Geometry,
    geometry_of_image,
    grid_text,
    is_orthogonal,
    max_skew_degrees,
    orthogonalised,
    same_grid,
    smoothing_sigma,
)
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.io.mask_values import check_is_scan
from clisc_nnunet.io.nifti_header import check_nifti, is_nifti
from clisc_nnunet.io.paths import itk_name
from clisc_nnunet.io.sitk_images import read_image, read_image_header, to_sitk

# A scan on disk: a file, or the files of a DICOM series.
Source = Path | Series
# Millimetres; values outside indicate a wrong header, e.g. one in metres.
SPACING_LIMITS = (0.01, 100.0)
# More skewed axes are not orthogonalised: the shape would change too much.
MAX_SKEW_DEGREES = 30.0
# Header files without voxels, which are stored in one or more other files.
_BARE_HEADERS = (".mhd", ".nhdr")

__all__ = [
    "Geometry",
    "Source",
    "Volume",
    "grid_text",
    "read_geometry",
    "read_mask",
    "read_volume",
    "recording",
    "resample",
    "same_grid",
    "scan_digest",
    "to_axial",
    "write_volume",
]

_record: ContextVar[list[str] | None] = ContextVar("read_record", default=None)


@dataclass(frozen=True)
class Volume:
    """A scan in memory.

    Parameters
    ----------
    array : float32 ndarray of shape (plane, row, column)
        Intensities.
    geometry : Geometry
    repairs : tuple of str
        Why a NIfTI file is not passed on to nnU-Net as it is: repairs of its header, choices where
        it contradicts itself, and versions that ITK cannot read.
    """

    array: np.ndarray
    geometry: Geometry
    repairs: tuple[str, ...] = ()


@contextmanager
def recording() -> Iterator[list[str]]:
    """Record the path of every volume that is read inside the block."""
    paths: list[str] = []
    token = _record.set(paths)
    try:
        yield paths
    finally:
        _record.reset(token)


def read_volume(source: Source) -> Volume:
    """Read a scan.

    Parameters
    ----------
    source : Path or Series
        Any format that SimpleITK reads, NIfTI-2, FreeSurfer's `.mgz`, or a DICOM series.

    Returns
    -------
    Volume
        Intensities as float32, not rescaled.

    Raises
    ------
    ScanError
        If the file cannot be read, is not 3D, has only one slice or an invalid geometry, claims
        more voxels than it contains or than `claimed_size` allows, or its values are constant, not
        all finite, or those of a mask.
    """
    read = _read(source)
    return Volume(checked_intensities(source, read.array), read.geometry, read.repairs)


def checked_intensities(source: object, array: np.ndarray) -> np.ndarray:
    """The voxels of a scan as float32.

    Parameters
    ----------
    source : object
        Where they come from, for messages.
    array : ndarray of shape (plane, row, column)

    Raises
    ------
    ScanError
        If they are constant, not all finite, or those of a mask.
    """
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    not_finite = int((~np.isfinite(array)).sum())
    if not_finite:
        raise ScanError(
            source,
            f"{not_finite} voxels that are NaN, infinite or out of range for float32",
            "finite intensities",
            "replace these values",
        )
    if array.min() == array.max():
        raise ScanError(
            source,
            f"a constant volume ({array.flat[0]:g} everywhere)",
            "an image with contrast",
            "check the export of this scan",
        )
    check_is_scan(source, array)
    return array


def read_mask(path: Path, grid: Geometry, labels: Collection[int] = ()) -> np.ndarray:
    """Voxels of a mask that are above 0, or that have one of `labels`; bool (plane, row, column).

    Raises
    ------
    ScanError
        If the file cannot be read, or its grid differs from `grid`.
    """
    read = _read(path)
    check_grid(path, read.geometry, grid)
    return np.isin(read.array, list(labels)) if labels else read.array > 0


def check_grid(source: Source, found: Geometry, scan: Geometry) -> None:
    """Check that a file has the voxel grid of its scan.

    Raises
    ------
    ScanError
        If the grids differ.
    """
    if not same_grid(found, scan):
        raise ScanError(
            source,
            f"a grid of {grid_text(found)}",
            f"the scan's grid, {grid_text(scan)}",
            "resample it to its scan",
        )


def read_geometry(source: Source) -> Geometry:
    """Geometry of a file from its header; a DICOM series is read completely."""
    if isinstance(source, Series):
        return checked_geometry(source, read_series(source)[1])[0]
    return checked_geometry(source, read_image_header(source).geometry)[0]


def write_volume(
    path: Path, array: np.ndarray, geometry: Geometry, folder: Path | None = None
) -> None:
    """Write a volume atomically.

    Parameters
    ----------
    path : Path
        Target; its folder is created. The extension selects the format.
    array : ndarray of shape (plane, row, column)
        Bool is written as uint8.
    geometry : Geometry
        Its shape must equal the array's.
    folder : Path, optional
        Folder of the temporary file; by default that of the target.

    Raises
    ------
    ValueError
        If array and geometry have different shapes.
    StorageError
        If the disk is full or the file cannot be written.
    """
    if array.shape != geometry.shape:
        raise ValueError(f"array of shape {array.shape}, geometry of shape {geometry.shape}")
    with atomic_file(path, folder) as temporary:
        try:
            sitk.WriteImage(to_sitk(array, geometry), itk_name(temporary), useCompression=True)
            if is_nifti(temporary):
                check_nifti(temporary)  # on a full disk, ITK may write a truncated file silently
        except (RuntimeError, OSError, EOFError, zlib.error, ScanError):
            _raise_write_error(temporary, array.nbytes)
            raise


def to_axial(volume: Volume) -> Volume:
    """Reorient to planes from inferior to superior, rows towards posterior, columns towards left.

    Axes are permuted and flipped, not interpolated; an oblique scan is assigned its nearest axes.
    """
    image = sitk.DICOMOrient(to_sitk(volume.array, volume.geometry), "LPS")
    return Volume(sitk.GetArrayFromImage(image), geometry_of_image(image))


def resample(
    array: np.ndarray, source: Geometry, target: Geometry, *, outside: float = 0.0
) -> np.ndarray:
    """Resample a volume onto another grid by linear interpolation.

    Parameters
    ----------
    array : ndarray of shape source.shape
        Converted to float32.
    source, target : Geometry
        Grid of the array, grid of the result.
    outside : float
        Value of voxels outside the source.

    Returns
    -------
    float32 ndarray of shape target.shape

    Notes
    -----
    Where the target is coarser than the source, the array is smoothed first to avoid aliasing
    (`smoothing_sigma`), along the source's axes, for any relative orientation.
    """
    image = to_sitk(array.astype(np.float32, copy=False), source)
    sigma = smoothing_sigma(source, target)
    for axis in np.flatnonzero(sigma):
        smoothing = sitk.RecursiveGaussianImageFilter()
        smoothing.SetDirection(int(axis))
        smoothing.SetSigma(float(sigma[axis]))
        if source.size[axis] >= 4:  # the recursive filter needs four voxels
            image = smoothing.Execute(image)
    moved = sitk.Resample(
        image,
        target.size,
        sitk.Transform(),
        sitk.sitkLinear,
        target.origin,
        target.spacing,
        target.direction,
        outside,
        sitk.sitkFloat32,
    )
    return sitk.GetArrayFromImage(moved)


def scan_digest(source: Source) -> str:
    """Hash of a scan's file or files, from which the fingerprints of all results are derived.

    It covers voxels in other files than the header, and the geometry where it is not ITK's.

    Raises
    ------
    ScanError
        If a file cannot be read.
    """
    try:
        digest = source.digest if isinstance(source, Series) else file_sha256(source)
        if not isinstance(source, Series) and (
            source.name.lower().endswith(_BARE_HEADERS) or data_files(source)
        ):
            return _joined(digest, read_image(source)[0].tobytes())
    except OSError as error:
        raise ScanError(source, str(error.strerror), "a readable scan", "check the path") from None
    geometry = _geometry_unlike_itk(source)
    # Results of earlier versions, which read every scan as ITK does, are then not used.
    return digest if geometry is None else _joined(digest, grid_text(geometry).encode())


def _joined(digest: str, content: bytes) -> str:
    return hashlib.sha256(digest.encode() + content).hexdigest()


def _geometry_unlike_itk(source: Source) -> Geometry | None:
    """Geometry of a scan where it differs from ITK's, and that of a scan which ITK cannot read."""
    try:
        if isinstance(source, Series):
            return geometry_unlike_itk(source)
        header = read_image_header(source) if is_nifti(source) else None
    except ScanError:  # reported when the scan is read
        return None
    return header.geometry if header and header.itk_differs else None


def _read(source: Source) -> Volume:
    """Voxels in the dtype of the file, with a valid geometry."""
    record = _record.get()
    if record is not None:
        record.append(str(source.folder if isinstance(source, Series) else source))
    if isinstance(source, Series):
        array, geometry = read_series(source)
        notes: tuple[str, ...] = ()
    else:
        array, header = read_image(source)
        geometry, notes = header.geometry, header.repairs
    if min(geometry.size) < 2:
        raise ScanError(
            source,
            f"one slice ({' x '.join(map(str, geometry.size))} voxels)",
            "a volume",
            "export all slices, or remove this scan",
        )
    checked, repairs = checked_geometry(source, geometry)
    return Volume(array, checked, (*notes, *repairs))


def _raise_write_error(path: Path, size: int) -> None:
    """Raise the OSError that made ITK fail, which gives no reason, by writing the same size."""
    with path.open("wb") as file:
        for _ in range(0, size, 1 << 20):
            file.write(bytes(1 << 20))


def checked_geometry(source: object, geometry: Geometry) -> tuple[Geometry, tuple[str, ...]]:
    """The geometry, orthogonalised if necessary, and a description of the repairs.

    Raises
    ------
    ScanError
        If it is not that of a scan.
    """
    spacing, low, high = geometry.spacing, *SPACING_LIMITS
    if not all(low <= value <= high for value in spacing):
        raise ScanError(
            source,
            f"a voxel spacing of {', '.join(f'{value:g}' for value in spacing)} mm",
            f"spacings from {low:g} to {high:g} mm",
            "fix the header, or export the scan again",
        )
    check_extent(source, geometry.size, spacing)
    if not np.isfinite((*geometry.origin, *geometry.direction)).all():
        raise ScanError(
            source,
            "an origin or orientation that is not finite",
            "a finite position",
            "fix the header, or export the scan again",
        )
    if is_orthogonal(geometry):
        return geometry, ()
    degrees = max_skew_degrees(geometry)
    if degrees > MAX_SKEW_DEGREES:
        raise ScanError(
            source,
            f"axes that deviate {degrees:.0f} degrees from right angles",
            f"{MAX_SKEW_DEGREES:.0f} degrees or less",
            "resample the scan to a grid with orthogonal axes",
        )
    return orthogonalised(geometry), (
        f"header: axes {degrees:.2g} degrees off right angles, straightened about the centre",
    )
