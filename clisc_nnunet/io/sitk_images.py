"""Read image files through SimpleITK, with one-line errors for unusable files."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import SimpleITK as sitk

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.encoded_data import ENDINGS as ENCODED
from clisc_nnunet.io.encoded_data import check_encoded_data
from clisc_nnunet.io.geometry import Geometry, geometry_of_steps
from clisc_nnunet.io.nifti_header import check_nifti, is_nifti
from clisc_nnunet.io.paths import itk_name

# Raised by SimpleITK, gzip and the file system for corrupt or truncated files.
_READ_ERRORS = (RuntimeError, EOFError, OSError, MemoryError, zlib.error)
_NOT_ORTHOGONAL = "No orthonormal definition found"
# Smallest accepted volume of the parallelepiped spanned by three unit vectors.
_FLAT = 1e-3
_PERMISSIVE = "ITK_NIFTI_SFORM_PERMISSIVE"


def read_image(path: Path) -> tuple[np.ndarray, Geometry]:
    """Read an image file.

    Returns
    -------
    array : ndarray of shape (plane, row, column)
        In the dtype of the file.
    geometry : Geometry
        As in the header, not checked: axes may be far from orthogonal.

    Raises
    ------
    ScanError
        If the file cannot be read completely, or does not contain a single 3D image.
    """
    with _alone(path) as same:
        image, geometry = _read(path, lambda: sitk.ReadImage(itk_name(same)), voxels=True)
    return sitk.GetArrayFromImage(image), geometry


def read_image_header(path: Path) -> Geometry:
    """Geometry of an image file as in the header, without reading the voxels.

    Raises
    ------
    ScanError
        If the header cannot be read, or is not that of a single 3D image.
    """

    def read() -> sitk.ImageFileReader:
        reader = sitk.ImageFileReader()
        reader.SetFileName(itk_name(path))
        reader.ReadImageInformation()
        return reader

    return _read(path, read, voxels=False)[1]


def geometry_of_image(image: Any) -> Geometry:
    """Geometry of a 3D SimpleITK image or ImageFileReader."""
    return Geometry(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())


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
    beside = path.with_name(path.name[: -len(".gz")])
    if not (path.name.lower().endswith(".nii.gz") and beside.exists()):
        yield path
        return
    with TemporaryDirectory() as folder:
        link = Path(folder) / path.name
        link.symlink_to(path.absolute())
        yield link


def _read(path: Path, read: Callable[[], Any], voxels: bool) -> tuple[Any, Geometry]:
    """Result of `read`, an image or a header, and its geometry."""
    steps = None
    try:
        if is_nifti(path):
            steps = check_nifti(path, voxels=voxels)
        elif voxels and path.name.lower().endswith(ENCODED):
            check_encoded_data(path)
        with no_itk_warnings():
            image = read()
    except _READ_ERRORS as error:
        if _NOT_ORTHOGONAL not in str(error) or steps is None:
            raise _unreadable(path, error) from None
        image = _read_permissively(path, read, steps[0])
        _check_kind(path, image)
        return image, geometry_of_steps(image.GetSize(), *steps)
    _check_kind(path, image)
    return image, geometry_of_image(image)


def _read_permissively(path: Path, read: Callable[[], Any], steps: np.ndarray) -> Any:
    """Result of `read` for a file with skewed axes, the columns of `steps`, float (3, 3)."""
    lengths = np.linalg.norm(steps, axis=0)
    if not lengths.all() or abs(np.linalg.det(steps / lengths)) < _FLAT:
        raise ScanError(
            path,
            "zero or coincident axes",
            "an sform with three directions",
            "fix the header, or export the scan again",
        )
    try:
        with _permissive():
            return read()
    except _READ_ERRORS as error:
        raise _unreadable(path, error) from None


@contextmanager
def _permissive() -> Iterator[None]:
    """Let ITK read NIfTI files with skewed axes."""
    before = os.environ.get(_PERMISSIVE)
    os.environ[_PERMISSIVE] = "1"
    try:
        with no_itk_warnings():
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
        "a complete volume in a format that SimpleITK reads",
        "copy or export it again",
    )
