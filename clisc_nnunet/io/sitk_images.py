"""Read image files, most of them by SimpleITK, with one-line errors for unusable files."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import SimpleITK as sitk

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.claimed_size import check_bytes, check_voxels
from clisc_nnunet.io.detached_data import data_files, most_bytes
from clisc_nnunet.io.encoded_data import ENDINGS as ENCODED
from clisc_nnunet.io.encoded_data import check_encoded_data
from clisc_nnunet.io.geometry import Geometry, farthest_mm, geometry_of_image, is_far
from clisc_nnunet.io.nibabel_images import check_3d, is_mgh, read_mgh, read_nifti
from clisc_nnunet.io.nifti_geometry import (
    StatedGeometry,
    stated_geometry,
    unoriented_geometry,
)
from clisc_nnunet.io.nifti_header import check_nifti, is_nifti
from clisc_nnunet.io.paths import itk_name

# Raised by SimpleITK, gzip and the file system for corrupt or truncated files.
_READ_ERRORS = (RuntimeError, EOFError, OSError, MemoryError, zlib.error)
_NOT_ORTHOGONAL = "No orthonormal definition found"
# Smallest accepted volume of the parallelepiped spanned by three unit vectors.
_FLAT = 1e-3
_PERMISSIVE = "ITK_NIFTI_SFORM_PERMISSIVE"


@dataclass(frozen=True)
class ImageHeader:
    """What the header of an image file says.

    Parameters
    ----------
    geometry : Geometry
        Not checked: axes may be far from orthogonal.
    repairs : tuple of str
        Contradictions in the header, and NIfTI files that ITK cannot read, or not by their names.
    itk_differs : bool
        Whether ITK finds another geometry, or does not know the format.
    """

    geometry: Geometry
    repairs: tuple[str, ...] = ()
    itk_differs: bool = False


def read_image(path: Path) -> tuple[np.ndarray, ImageHeader]:
    """Read an image file.

    Returns
    -------
    array : ndarray of shape (plane, row, column)
        In the dtype of the file.
    header : ImageHeader

    Raises
    ------
    ScanError
        If the file cannot be read completely, or does not contain a single 3D image.
    """
    array, header = _read(path, voxels=True)
    assert array is not None
    return array, header


def read_image_header(path: Path) -> ImageHeader:
    """Header of an image file, without reading the voxels.

    Raises
    ------
    ScanError
        If the header cannot be read, is not that of a single 3D image, or claims more than the
        file can contain.
    """
    return _read(path, voxels=False)[1]


def to_sitk(array: np.ndarray, geometry: Geometry) -> sitk.Image:
    """A SimpleITK image; bool becomes uint8."""
    image = sitk.GetImageFromArray(array.astype(np.uint8) if array.dtype == bool else array)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    return image


@contextmanager
def no_itk_warnings() -> Iterator[None]:
    """Suppress ITK's multi-line warnings; errors are reported in one line instead."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


@contextmanager
def _alone(path: Path) -> Iterator[Path]:
    """A path by which ITK reads this file: of `a.nii.gz` beside `a.nii`, it reads the latter."""
    gzipped = path.name.lower().endswith(".nii.gz")
    if not (gzipped and path.with_name(path.name[: -len(".gz")]).exists()):
        yield path
        return
    with TemporaryDirectory() as folder:
        link = Path(folder) / path.name
        link.symlink_to(path.absolute())
        yield link


def _read(path: Path, *, voxels: bool) -> tuple[np.ndarray | None, ImageHeader]:
    """Voxels, if requested, and header of a file in any format."""
    try:
        if is_mgh(path):
            array, geometry = read_mgh(path, voxels=voxels)
            return array, ImageHeader(geometry, itk_differs=True)
        if is_nifti(path):
            return _read_nifti(path, voxels=voxels)
        files = data_files(path)
        header = _itk_header(path)
        _check_claim(path, header, files)
        if not voxels:
            return None, ImageHeader(geometry_of_image(header))
        if path.name.lower().endswith(ENCODED):
            check_encoded_data(path)
        image = _itk_image(path)
    except _READ_ERRORS as error:
        raise _unreadable(path, error) from None
    return sitk.GetArrayFromImage(image), ImageHeader(geometry_of_image(image))


def _read_nifti(path: Path, *, voxels: bool) -> tuple[np.ndarray | None, ImageHeader]:
    """Voxels, if requested, and header of a NIfTI file."""
    nifti = check_nifti(path, voxels=voxels)
    columns, rows, planes = (*nifti.shape, 1, 1)[:3]
    size = (columns, rows, planes)
    stated = stated_geometry(nifti.header, size)
    conflict = (stated.conflict,) if stated and stated.conflict else ()
    if nifti.needs_nibabel:
        check_3d(path, nifti.shape)
        array = read_nifti(path, nifti) if voxels else None
        if stated is None and int(nifti.header["sform_code"]) > 0:
            raise _without_volume(path)
        geometry = stated.geometry if stated else unoriented_geometry(nifti.header, size)
        repairs = (f"{nifti.needs_nibabel}, read by nibabel", *conflict)
        return array, ImageHeader(geometry, repairs, itk_differs=True)
    read = partial(_itk_image if voxels else _itk_header, path)
    try:
        image: Any = read()
        seen = geometry_of_image(image)
    except RuntimeError as error:
        if _NOT_ORTHOGONAL not in str(error):
            raise
        image = _read_permissively(path, read, stated)
        seen = None
    _check_kind(path, image)
    array = sitk.GetArrayFromImage(image) if voxels else None
    if array is not None and len(nifti.not_finite):
        array = array.astype(np.result_type(array, np.float32))
        array.flat[nifti.not_finite] = np.nan  # ITK has replaced them by 0
    # ITK's own numbers are kept where they are the same but for rounding.
    if seen is not None and (stated is None or not is_far(stated.geometry, seen)):
        return array, ImageHeader(seen, conflict)
    assert stated is not None
    if seen is None:
        return array, ImageHeader(stated.geometry, conflict)
    apart = f"header: read by its own numbers, {farthest_mm(stated.geometry, seen):.3g} mm from ITK"
    return array, ImageHeader(stated.geometry, conflict or (apart,), itk_differs=True)


def _itk_image(path: Path) -> sitk.Image:
    with no_itk_warnings(), _alone(path) as same:
        return sitk.ReadImage(itk_name(same))


def _itk_header(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    with no_itk_warnings(), _alone(path) as same:
        reader.SetFileName(itk_name(same))
        reader.ReadImageInformation()
    return reader


def _check_claim(path: Path, header: sitk.ImageFileReader, files: tuple[Path, ...]) -> None:
    """Check kind and size of an image before its voxels are read."""
    _check_kind(path, header)
    size = header.GetSize()
    check_voxels(path, size)
    voxel = sitk.Image([1, 1], header.GetPixelID()).GetSizeOfPixelComponent()
    check_bytes(path, math.prod(size) * voxel, most_bytes(path, files))


def _read_permissively(path: Path, read: Callable[[], Any], stated: StatedGeometry | None) -> Any:
    """Result of `read` for a file whose only orientation is an sform with skewed axes."""
    if stated is None or abs(np.linalg.det(stated.geometry.axes)) < _FLAT:
        raise _without_volume(path)
    with _permissive():
        return read()


def _without_volume(path: Path) -> ScanError:
    return ScanError(
        path,
        "zero or coincident axes",
        "an sform with three directions",
        "fix the header, or export the scan again",
    )


@contextmanager
def _permissive() -> Iterator[None]:
    """Let ITK read NIfTI files with skewed axes."""
    before = os.environ.get(_PERMISSIVE)
    os.environ[_PERMISSIVE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_PERMISSIVE]
        else:
            os.environ[_PERMISSIVE] = before


def _check_kind(path: Path, image: Any) -> None:
    dimension = image.GetDimension()
    if isinstance(image, sitk.ImageFileReader):
        components = image.GetNumberOfComponents()
    else:
        components = image.GetNumberOfComponentsPerPixel()
    # Complex images have one component, but their headers have two.
    is_complex = "complex" in sitk.GetPixelIDValueAsString(image.GetPixelIDValue())
    if is_complex:
        raise ScanError(path, "complex numbers", "intensities", "save the magnitude image")
    if dimension != 3 or components != 1:
        raise ScanError(
            path,
            f"{dimension}D with {components} component(s)",
            "one 3D volume",
            "extract the scan into its own file",
        )


def _unreadable(path: Path, error: BaseException) -> ScanError:
    if not path.exists():
        return ScanError(path, "no such file", "a scan", "check the path")
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = lines[-1].removeprefix("ITK ERROR: ").strip()
    return ScanError(
        path,
        f"a file that cannot be read ({path.stat().st_size} bytes; {reason[:120]})",
        "a complete NIfTI, MetaImage, NRRD or MGH volume",
        "copy or export it again",
    )
