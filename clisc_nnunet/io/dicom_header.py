"""Size, position and scaling of the frames of a DICOM file, checked before its pixels are read.

GDCM, the reader of SimpleITK, replaces an invalid spacing by 1 mm and an invalid orientation by the
identity, and takes the order and scaling of an enhanced (multi-frame) file from its first frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io import dicom_elements
from clisc_nnunet.io.claimed_size import check_bytes
from clisc_nnunet.io.dicom_elements import Elements, InvalidElements, read_elements, text
from clisc_nnunet.io.paths import itk_name

_SAMPLES, _FRAMES, _ROWS, _COLUMNS = 0x0028_0002, 0x0028_0008, 0x0028_0010, 0x0028_0011
_SPACING, _BITS = 0x0028_0030, 0x0028_0100
_INTERCEPT, _SLOPE = 0x0028_1052, 0x0028_1053
_POSITION, _ORIENTATION = 0x0020_0032, 0x0020_0037
_NUMBERS = {_SAMPLES, _ROWS, _COLUMNS, _BITS}
_WANTED = {
    *(_SAMPLES, _FRAMES, _ROWS, _COLUMNS, _SPACING, _BITS, _INTERCEPT, _SLOPE),
    *(_POSITION, _ORIENTATION),
    *(dicom_elements.SHARED_GROUPS, dicom_elements.FRAME_GROUPS),
    *(dicom_elements.FRAME_POSITION, dicom_elements.FRAME_ORIENTATION),
    *(dicom_elements.FRAME_MEASURES, dicom_elements.FRAME_VALUES),
}
# Tolerated deviation of the lengths of two axes from 1, and of their product from 0.
_AXES_TOLERANCE = 0.01


@dataclass(frozen=True)
class Frame:
    """Position and scaling of one slice, in LPS and millimetres.

    Parameters
    ----------
    position : float ndarray of shape (3,)
        Of the first pixel.
    axes : float ndarray of shape (3, 3)
        Unit vectors to the next column and row, and their normal, as columns.
    spacing : tuple of 2 float
        Of columns and rows.
    slope, intercept : float
        Stored values times slope plus intercept are intensities.
    """

    position: np.ndarray
    axes: np.ndarray
    spacing: tuple[float, float]
    slope: float = 1.0
    intercept: float = 0.0


@dataclass(frozen=True)
class DicomHeader:
    """Size and frames of a DICOM file; the frames of one that is not enhanced are one."""

    rows: int
    columns: int
    frames: tuple[Frame, ...]


def read_dicom_header(path: Path) -> DicomHeader:
    """Read and check the header of a DICOM image.

    Raises
    ------
    ScanError
        If it cannot be read, claims more pixels than the file contains, or a frame has no valid
        position, orientation or spacing.
    """
    try:
        elements = read_elements(path, _WANTED)
    except (InvalidElements, OSError) as error:
        others = _elements_by_gdcm(path) if isinstance(error, InvalidElements) else None
        if others is None:
            raise ScanError(
                path,
                f"a DICOM slice that cannot be read ({error})",
                "a complete file",
                "copy or export the series again",
            ) from None
        elements = others
    rows, columns, bits = (_integer(elements, tag, 0) for tag in (_ROWS, _COLUMNS, _BITS))
    samples, count = _integer(elements, _SAMPLES, 1), _count(path, elements)
    if min(rows, columns, bits, count) < 1:
        raise ScanError(
            path,
            f"{count} frames of {columns} x {rows} pixels of {bits} bits",
            "an image",
            "export the series again",
        )
    if text(elements[dicom_elements.TRANSFER_SYNTAX]) in dicom_elements.NATIVE:
        needed = math.ceil(rows * columns * count * samples * bits / 8)
        check_bytes(path, needed, path.stat().st_size)
    groups = elements.get(dicom_elements.FRAME_GROUPS)
    shared = _first(elements, dicom_elements.SHARED_GROUPS)
    if not groups and count == 1:
        return DicomHeader(rows, columns, (_classic_frame(path, elements),))
    if not isinstance(groups, list) or len(groups) != count:
        found = len(groups) if isinstance(groups, list) else "no"
        raise ScanError(
            path,
            f"{count} frames, and {found} positions",
            "a position for each frame",
            "export the slices as separate files",
        )
    frames = tuple(_enhanced_frame(path, group, shared) for group in groups)
    return DicomHeader(rows, columns, frames)


def gdcm_header(path: Path) -> sitk.ImageFileReader | None:
    """Header of a DICOM file as GDCM reads it; None if it does not."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(itk_name(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None
    return reader


def _elements_by_gdcm(path: Path) -> Elements | None:
    """Elements of a file that breaks the standard in a way that GDCM knows; None if it does not.

    Without the frames of an enhanced file.
    """
    reader = gdcm_header(path)
    if reader is None:
        return None
    names = {tag: f"{tag >> 16:04x}|{tag & 0xFFFF:04x}" for tag in _WANTED}
    keys = set(reader.GetMetaDataKeys())
    found = {tag: reader.GetMetaData(key) for tag, key in names.items() if key in keys}
    elements: Elements = {
        tag: int(value).to_bytes(2, "little") if tag in _NUMBERS else value.encode()
        for tag, value in found.items()
    }
    # Whether the pixels are compressed is not known, so that only their number can be checked.
    return {**elements, dicom_elements.TRANSFER_SYNTAX: b"unknown"}


def _classic_frame(path: Path, elements: Elements) -> Frame:
    return _frame(
        path,
        _numbers(elements, _POSITION),
        _numbers(elements, _ORIENTATION),
        _numbers(elements, _SPACING),
    )


def _enhanced_frame(path: Path, group: Elements, shared: Elements) -> Frame:
    """A frame by its own functional groups, or where it has none by the shared ones."""

    def macro(tag: int) -> Elements:
        return _first(group, tag) or _first(shared, tag)

    values = macro(dicom_elements.FRAME_VALUES)
    slope = _numbers(values, _SLOPE) or [1.0]
    intercept = _numbers(values, _INTERCEPT) or [0.0]
    if not slope[0] or not np.isfinite([slope[0], intercept[0]]).all():
        found = f"a scaling of {slope[0]:g} x + {intercept[0]:g}"
        raise ScanError(path, found, "a slope other than 0", "export the series again")
    return _frame(
        path,
        _numbers(macro(dicom_elements.FRAME_POSITION), _POSITION),
        _numbers(macro(dicom_elements.FRAME_ORIENTATION), _ORIENTATION),
        _numbers(macro(dicom_elements.FRAME_MEASURES), _SPACING),
        slope[0],
        intercept[0],
    )


def _frame(
    path: Path,
    position: list[float],
    orientation: list[float],
    spacing: list[float],
    slope: float = 1.0,
    intercept: float = 0.0,
) -> Frame:
    _check(
        path,
        "pixel spacing",
        spacing,
        len(spacing) == 2 and bool(np.isfinite(spacing).all()) and min(spacing) > 0,
        "two spacings above 0",
    )
    _check(
        path,
        "position",
        position,
        len(position) == 3 and bool(np.isfinite(position).all()),
        "three coordinates",
    )
    _check(
        path, "orientation", orientation, _are_axes(orientation), "two unit vectors at right angles"
    )
    along, down = np.reshape(orientation, (2, 3))
    along, down = along / np.linalg.norm(along), down / np.linalg.norm(down)
    axes = np.column_stack([along, down, np.cross(along, down)])
    # The first spacing is that between rows.
    return Frame(np.array(position), axes, (spacing[1], spacing[0]), slope, intercept)


def _are_axes(orientation: list[float]) -> bool:
    if len(orientation) != 6 or not np.isfinite(orientation).all():
        return False
    axes = np.reshape(orientation, (2, 3))
    return bool(np.allclose(axes @ axes.T, np.eye(2), atol=_AXES_TOLERANCE))


def _check(path: Path, what: str, found: list[float], valid: bool, expected: str) -> None:
    if not valid:
        numbers = ", ".join(f"{value:g}" for value in found)
        raise ScanError(
            path,
            f"{what} {numbers}" if numbers else f"no {what}",
            expected,
            "export the series again",
        )


def _count(path: Path, elements: Elements) -> int:
    value = text(elements.get(_FRAMES, b"")) or "1"
    try:
        return int(value)
    except ValueError:
        raise ScanError(path, f"{value!r} frames", "a number", "export the series again") from None


def _first(elements: Elements, tag: int) -> Elements:
    """The only item of a sequence; empty without it."""
    items = elements.get(tag)
    return items[0] if isinstance(items, list) and items else {}


def _integer(elements: Elements, tag: int, default: int) -> int:
    """An unsigned number of two bytes."""
    big = text(elements[dicom_elements.TRANSFER_SYNTAX]) == dicom_elements.BIG_ENDIAN
    value = elements.get(tag, b"")
    if not isinstance(value, bytes) or not value:
        return default
    return int.from_bytes(value[:2], "big" if big else "little")


def _numbers(elements: Elements, tag: int) -> list[float]:
    """Numbers of a decimal string; NaN for what is none."""
    value = text(elements.get(tag, b""))
    return [_number(part) for part in value.split("\\")] if value else []


def _number(part: str) -> float:
    try:
        return float(part.strip(" \0"))
    except ValueError:
        return math.nan
