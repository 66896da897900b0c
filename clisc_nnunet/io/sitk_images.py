"""Image files through SimpleITK: voxels, geometry, and one line for each that is no whole scan."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.geometry import Geometry, geometry_of_steps
from clisc_nnunet.io.nifti_header import check_nifti, is_nifti
from clisc_nnunet.io.paths import itk_name

# What SimpleITK, gzip and the file system raise over a file that is no whole scan.
_READ_ERRORS = (RuntimeError, EOFError, OSError, MemoryError, zlib.error)
_NOT_SQUARE = "No orthonormal definition found"
# Volume of the box that three unit vectors span; less is no volume at all.
_FLAT = 1e-3
_PERMISSIVE = "ITK_NIFTI_SFORM_PERMISSIVE"


def read_image(path: Path) -> tuple[np.ndarray, Geometry]:
    """Read an image file.

    Returns
    -------
    array : ndarray of shape (plane, row, column)
        In the file's own type.
    geometry : Geometry
        As the header has it, which may be of no use: axes may be far from right angles.

    Raises
    ------
    ScanError
        If the file cannot be read whole, or holds something else than one 3D image.
    """
    image, geometry = _read(path, lambda: sitk.ReadImage(itk_name(path)), whole=True)
    return sitk.GetArrayFromImage(image), geometry


def read_image_header(path: Path) -> Geometry:
    """Geometry of an image file, as the header has it, without reading the voxels.

    Raises
    ------
    ScanError
        If the header cannot be read, or is not that of one 3D image.
    """

    def read() -> sitk.ImageFileReader:
        reader = sitk.ImageFileReader()
        reader.SetFileName(itk_name(path))
        reader.ReadImageInformation()
        return reader

    return _read(path, read, whole=False)[1]


def geometry_of_image(image: Any) -> Geometry:
    """Geometry of a SimpleITK image, or of its reader; 3D."""
    return Geometry(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())


@contextmanager
def quiet() -> Iterator[None]:
    """Without ITK's warnings of many lines: what matters is told in one."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def _read(path: Path, read: Callable[[], Any], whole: bool) -> tuple[Any, Geometry]:
    """What `read` gives, image or header, and its geometry."""
    steps = None
    try:
        if is_nifti(path):
            steps = check_nifti(path, whole=whole)
        with quiet():
            image = read()
    except _READ_ERRORS as error:
        if _NOT_SQUARE not in str(error) or steps is None:
            raise _unreadable(path, error) from None
        image = _read_permissively(path, read, steps[0])
        _check_kind(path, image)
        return image, geometry_of_steps(image.GetSize(), *steps)
    _check_kind(path, image)
    return image, geometry_of_image(image)


def _read_permissively(path: Path, read: Callable[[], Any], steps: np.ndarray) -> Any:
    """What `read` gives, though the axes are not at right angles; columns of `steps`, (3, 3)."""
    lengths = np.linalg.norm(steps, axis=0)
    if not lengths.all() or abs(np.linalg.det(steps / lengths)) < _FLAT:
        raise ScanError(
            path,
            "axes that vanish or coincide",
            "an sform with three directions",
            "mend the header, or export the scan again",
        )
    try:
        with _permissive():
            return read()
    except _READ_ERRORS as error:
        raise _unreadable(path, error) from None


@contextmanager
def _permissive() -> Iterator[None]:
    """Let ITK read NIfTI files whose axes are not at right angles."""
    before = os.environ.get(_PERMISSIVE)
    os.environ[_PERMISSIVE] = "1"
    try:
        with quiet():
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
    # A complex number is one component of an image, and two of a header.
    is_complex = "complex" in sitk.GetPixelIDValueAsString(image.GetPixelIDValue())
    if is_complex:
        raise ScanError(path, "complex numbers", "intensities", "write the magnitude alone")
    if dimension != 3 or components != 1:
        raise ScanError(
            path,
            f"{dimension}D with {components} component(s)",
            "one 3D volume",
            "extract the scan into a file of its own",
        )


def _unreadable(path: Path, error: BaseException) -> ScanError:
    if not path.exists():
        return ScanError(path, "no such file", "a scan", "check the path")
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = lines[-1].removeprefix("ITK ERROR: ").strip()
    return ScanError(
        path,
        f"a file that cannot be read ({path.stat().st_size} bytes; {reason[:120]})",
        "a whole volume in a format that SimpleITK reads",
        "copy or export it again",
    )
