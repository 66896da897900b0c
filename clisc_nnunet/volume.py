"""The one place that reads and writes scans, and that knows geometry.

Arrays are (plane, row, column), as SimpleITK gives them; `Geometry` keeps SimpleITK's own order
(x, y, z) = (column, row, plane), in millimetres and in the LPS coordinates of DICOM.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from clisc_nnunet.atomic import whole_file
from clisc_nnunet.digest import file_sha256
from clisc_nnunet.errors import ScanError

_record: ContextVar[list[str] | None] = ContextVar("read_record", default=None)


@dataclass(frozen=True)
class Geometry:
    """Where the voxels of a volume lie in the patient.

    Parameters
    ----------
    size : tuple of 3 int
        Number of columns, rows and planes.
    spacing, origin : tuple of 3 float
        Millimetres, (x, y, z).
    direction : tuple of 9 float
        Direction cosines, row by row, as in SimpleITK.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the array: (plane, row, column)."""
        return self.size[2], self.size[1], self.size[0]

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in millilitres."""
        return float(np.prod(self.spacing)) / 1000.0


@dataclass(frozen=True)
class Volume:
    """A scan in memory: float32 array (plane, row, column) and its geometry."""

    array: np.ndarray
    geometry: Geometry


@contextmanager
def recording() -> Iterator[list[str]]:
    """Collect the path of every volume that is read inside the block."""
    paths: list[str] = []
    token = _record.set(paths)
    try:
        yield paths
    finally:
        _record.reset(token)


def read_volume(path: Path) -> Volume:
    """Read a scan.

    Parameters
    ----------
    path : Path
        Any file that SimpleITK reads.

    Returns
    -------
    Volume
        Intensities as float32, untouched.

    Raises
    ------
    ScanError
        If the file cannot be read, is not 3D, or holds NaN, infinite or only equal values.
    """
    record = _record.get()
    if record is not None:
        record.append(str(path))
    image = _read_image(path)
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise ScanError(
            path,
            f"{image.GetDimension()}D with {image.GetNumberOfComponentsPerPixel()} component(s)",
            "one 3D volume",
            "extract the FLAIR volume into a file of its own",
        )
    array = sitk.GetArrayFromImage(image).astype(np.float32)
    not_finite = int((~np.isfinite(array)).sum())
    if not_finite:
        raise ScanError(
            path,
            f"{not_finite} voxels that are NaN or infinite",
            "finite intensities",
            "write the scan again without them",
        )
    if array.min() == array.max():
        raise ScanError(
            path,
            f"a constant volume ({array.flat[0]:g} everywhere)",
            "an image with contrast",
            "check the export of this scan",
        )
    return Volume(array, _geometry(image))


def read_mask(path: Path, grid: Geometry, labels: Collection[int] = ()) -> np.ndarray:
    """Voxels above 0 of a mask, or those of some labels; bool (plane, row, column).

    Raises
    ------
    ScanError
        If the file cannot be read, or its grid is not `grid`.
    """
    record = _record.get()
    if record is not None:
        record.append(str(path))
    image = _read_image(path)
    found = _geometry(image)
    if not same_grid(found, grid):
        raise ScanError(
            path,
            f"a grid of {found.size} voxels of {found.spacing} mm at {found.origin}",
            f"the scan's: {grid.size} voxels of {grid.spacing} mm at {grid.origin}",
            "resample the mask to its scan",
        )
    array = sitk.GetArrayFromImage(image)
    return np.isin(array, list(labels)) if labels else array > 0


def read_geometry(path: Path) -> Geometry:
    """Geometry of a file, from its header alone."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path, error) from None
    return Geometry(
        tuple(reader.GetSize()),
        tuple(reader.GetSpacing()),
        tuple(reader.GetOrigin()),
        tuple(reader.GetDirection()),
    )


def write_volume(
    path: Path, array: np.ndarray, geometry: Geometry, folder: Path | None = None
) -> None:
    """Write a volume whole or not at all.

    Parameters
    ----------
    path : Path
        Target; its folder is made. The ending decides the format.
    array : ndarray of shape (plane, row, column)
        Bool is written as uint8.
    geometry : Geometry
        Must fit the array.
    folder : Path, optional
        Where the file lies until it is whole; by default beside the target.

    Raises
    ------
    ValueError
        If array and geometry disagree.
    StorageError
        If the disk is full or the file cannot be written.
    """
    if array.shape != geometry.shape:
        raise ValueError(f"array of shape {array.shape}, geometry of shape {geometry.shape}")
    with whole_file(path, folder) as temporary:
        try:
            sitk.WriteImage(_image(array, geometry), str(temporary), useCompression=True)
            _check_whole(temporary)  # ITK may write a part of a file on a full disk in silence
        except (RuntimeError, OSError, EOFError, zlib.error):
            _tell_why_not_written(temporary, array.nbytes)
            raise


def to_axial(volume: Volume) -> Volume:
    """Put the axes in the order plane = inferior to superior, row = to posterior, column = to left.

    Axes are exchanged and flipped, never interpolated: an oblique scan goes by its nearest axes.
    """
    image = sitk.DICOMOrient(_image(volume.array, volume.geometry), "LPS")
    return Volume(sitk.GetArrayFromImage(image), _geometry(image))


def resample(
    array: np.ndarray, source: Geometry, target: Geometry, *, outside: float = 0.0
) -> np.ndarray:
    """Linear interpolation of a volume onto another grid.

    Parameters
    ----------
    array : ndarray of shape source.shape
        Taken as float32.
    source, target : Geometry
        Grid of the array, grid of the result.
    outside : float
        Value of voxels outside of the source.

    Returns
    -------
    float32 ndarray of shape target.shape

    Notes
    -----
    Where the target is coarser than the source, the array is smoothed first, with the Gaussian
    that takes a pixel of the finer spacing to one of the coarser, so that nothing aliases.
    """
    image = _image(array.astype(np.float32, copy=False), source)
    ratio = np.asarray(target.spacing) / np.asarray(source.spacing)
    # 0.4 of a pixel is the width of a Gaussian close to a pixel's own box profile.
    sigma = 0.4 * np.asarray(source.spacing) * np.sqrt(np.maximum(ratio**2 - 1.0, 0.0))
    for axis in np.flatnonzero(ratio > 1.05):
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


def scan_digest(path: Path) -> str:
    """Hash of a scan's file, the root of the signatures of what is made from it."""
    try:
        return file_sha256(path)
    except OSError as error:
        raise ScanError(path, str(error.strerror), "a readable scan", "check the path") from None


def same_grid(first: Geometry, second: Geometry) -> bool:
    """Whether two volumes share their voxels (within a thousandth of a millimetre or so)."""
    return first.size == second.size and all(
        np.allclose(a, b, atol=1e-3)
        for a, b in (
            (first.spacing, second.spacing),
            (first.origin, second.origin),
            (first.direction, second.direction),
        )
    )


def _read_image(path: Path) -> sitk.Image:
    try:
        _check_whole(path)
        return sitk.ReadImage(str(path))
    except (RuntimeError, EOFError, OSError, zlib.error) as error:
        raise _unreadable(path, error) from None


def _check_whole(path: Path) -> None:
    """Hold a NIfTI file's length against its header: ITK gives zeros for what a cut one lacks."""
    if path.suffix == ".gz":
        with gzip.open(path) as file:
            length = sum(len(block) for block in iter(lambda: file.read(1 << 22), b""))
    else:
        length = path.stat().st_size
    if not path.name.endswith((".nii", ".nii.gz")):
        return
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    header = int(float(reader.GetMetaData("vox_offset")))
    needed = header + math.prod(reader.GetSize()) * int(reader.GetMetaData("bitpix")) // 8
    if length < needed:
        raise OSError(f"{length} bytes where the header promises {needed}")


def _tell_why_not_written(path: Path, size: int) -> None:
    """Raise the system's own error, if there is one: ITK gives no reason."""
    with path.open("wb") as file:
        for _ in range(0, size, 1 << 20):
            file.write(bytes(1 << 20))


def _unreadable(path: Path, error: Exception) -> ScanError:
    if not path.exists():
        return ScanError(path, "no such file", "a scan", "check the path")
    reason = str(error).strip().splitlines()[-1].removeprefix("ITK ERROR: ").strip()
    return ScanError(
        path,
        f"a file that cannot be read ({path.stat().st_size} bytes; {reason[:120]})",
        "a whole volume in a format that SimpleITK reads",
        "copy or export it again",
    )


def _geometry(image: sitk.Image) -> Geometry:
    return Geometry(
        tuple(image.GetSize()),
        tuple(image.GetSpacing()),
        tuple(image.GetOrigin()),
        tuple(image.GetDirection()),
    )


def _image(array: np.ndarray, geometry: Geometry) -> sitk.Image:
    image = sitk.GetImageFromArray(array.astype(np.uint8) if array.dtype == bool else array)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    return image
