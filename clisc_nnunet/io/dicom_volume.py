"""Read the files of a DICOM series as one volume: slices sorted by position, enhanced files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.claimed_size import check_voxels
from clisc_nnunet.io.dicom_header import DicomHeader, Frame, gdcm_header, read_dicom_header
from clisc_nnunet.io.dicom_series import Series
from clisc_nnunet.io.geometry import Geometry, geometry_of_image, geometry_of_steps, is_far
from clisc_nnunet.io.paths import itk_name

# Tolerated deviation of a slice from its expected position, as a share of the slice distance.
_TOLERANCE = 0.1
# Tolerated deviation of stored values from integers, after the division by a slope.
_STORED_TOLERANCE = 0.01


def read_series(series: Series) -> tuple[np.ndarray, Geometry]:
    """Read the slices of a series as one volume.

    Returns
    -------
    float ndarray of shape (plane, row, column), Geometry

    Raises
    ------
    ScanError
        If a file cannot be read or claims more pixels than it contains; slices have an invalid
        position, differ in size, spacing or direction, two have the same position, or some in
        between are missing. Slices missing at an end cannot be detected.
    """
    headers = _read_headers(series)
    if len(headers) == 1 and len(headers[0].frames) > 1:
        return _read_enhanced(series, headers[0])
    slices = [_read_file(path) for path in series.files]
    _check_consistent(series, slices)
    frames = [_as_read(header.frames[0], i) for header, i in zip(headers, slices, strict=True)]
    order, geometry = _sorted_geometry(series, frames, headers[0])
    array = np.concatenate(
        [sitk.GetArrayFromImage(slices[i]).astype(np.float32) for i in order], axis=0
    )
    return array, geometry


def geometry_unlike_itk(series: Series) -> Geometry | None:
    """Geometry of an enhanced file, if ITK would read its frames in another order or place.

    Raises
    ------
    ScanError
        See `read_series`.
    """
    if len(series.files) > 1:
        return None
    (header,) = _read_headers(series)
    if len(header.frames) == 1:
        return None
    order, geometry = _frame_order(series, header)
    reader = gdcm_header(series.files[0])
    if reader is None:
        return None  # reported when it is read
    # A header, unlike an image, may have a negative spacing.
    steps = np.reshape(reader.GetDirection(), (3, 3)) * reader.GetSpacing()
    seen = geometry_of_steps(reader.GetSize(), steps, np.array(reader.GetOrigin()))
    in_order = bool((np.diff(order) == 1).all())
    same = in_order and not is_far(geometry, seen)
    return None if same and not _scalings_differ(header) else geometry


def _read_headers(series: Series) -> list[DicomHeader]:
    headers = [read_dicom_header(path) for path in series.files]
    largest = max(headers, key=lambda header: header.rows * header.columns)
    frames = sum(len(header.frames) for header in headers)
    check_voxels(series, (largest.columns, largest.rows, frames))
    return headers


def _read_enhanced(series: Series, header: DicomHeader) -> tuple[np.ndarray, Geometry]:
    """Read a file with several frames, each by its own position and scaling."""
    image = _read_file(series.files[0])
    array = sitk.GetArrayFromImage(image)
    order, geometry = _frame_order(series, header)
    if _scalings_differ(header):
        array = _rescaled(series, array, header.frames)
    seen = geometry_of_image(image)
    in_order = bool((np.diff(order) == 1).all())
    return array[order], seen if in_order and not is_far(geometry, seen) else geometry


def _frame_order(series: Series, header: DicomHeader) -> tuple[np.ndarray, Geometry]:
    """Order of the frames by their positions, int (n,), and geometry of the volume."""
    first = header.frames[0]
    for frame in header.frames:
        if not (
            np.allclose(frame.axes, first.axes, atol=1e-3)
            and np.allclose(frame.spacing, first.spacing, atol=1e-3)
        ):
            raise ScanError(
                series,
                "frames of different spacing or direction",
                "frames of one volume",
                "export localisers and reformatted slices as separate series",
            )
    order, geometry = _sorted_geometry(series, header.frames, header)
    if not (np.diff(order) == -1).all():
        return order, geometry
    # Frames from the last to the first stay so, as ITK reads them.
    steps = geometry.axes * geometry.spacing * (1, 1, -1)
    return order[::-1], geometry_of_steps(geometry.size, steps, header.frames[0].position)


def _sorted_geometry(
    series: Series, frames: Sequence[Frame], header: DicomHeader
) -> tuple[np.ndarray, Geometry]:
    """Order of slices along their normal, int (n,), and geometry of the volume that they are."""
    axes, spacing = frames[0].axes, frames[0].spacing
    positions = np.array([frame.position for frame in frames])
    order = np.argsort(positions @ axes[:, 2], kind="stable")
    size = (header.columns, header.rows, len(frames))
    if len(frames) == 1:
        steps = np.column_stack([axes[:, :2] * spacing, axes[:, 2]])
        return order, geometry_of_steps(size, steps, positions[0])
    step = _slice_step(series, positions[order], axes[:, 2])
    steps = np.column_stack([*(axes[:, :2] * spacing).T, step])
    return order, geometry_of_steps(size, steps, positions[order[0]])


def _as_read(frame: Frame, image: sitk.Image) -> Frame:
    """A frame with GDCM's numbers, which are more precise, unless they are of its own invention."""
    position, axes = np.array(image.GetOrigin()), np.reshape(image.GetDirection(), (3, 3))
    spacing = image.GetSpacing()[:2]
    same = (
        np.allclose(position, frame.position, atol=1e-3)
        and np.allclose(axes, frame.axes, atol=1e-3)
        and np.allclose(spacing, frame.spacing, atol=1e-3)
    )
    return Frame(position, axes, spacing) if same else frame


def _scalings_differ(header: DicomHeader) -> bool:
    return len({(frame.slope, frame.intercept) for frame in header.frames}) > 1


def _rescaled(series: Series, array: np.ndarray, frames: Sequence[Frame]) -> np.ndarray:
    """Intensities of frames which GDCM has scaled by the first one's slope and intercept.

    Parameters
    ----------
    array : ndarray of shape (plane, row, column)
        As GDCM gives it.

    Returns
    -------
    float64 ndarray of the same shape

    Raises
    ------
    ScanError
        If dividing by the first frame's scaling does not give integers, as they are stored.
    """
    stored = (array.astype(float) - frames[0].intercept) / frames[0].slope
    if np.abs(stored - np.rint(stored)).max() > _STORED_TOLERANCE:
        raise ScanError(
            series,
            "a scaling of each frame that cannot be applied",
            "frames of one scaling",
            "export the slices as separate files",
        )
    slope, intercept = np.array([(frame.slope, frame.intercept) for frame in frames]).T
    return np.rint(stored) * slope[:, None, None] + intercept[:, None, None]


def _read_file(path: Path) -> sitk.Image:
    try:
        image = sitk.ReadImage(itk_name(path), imageIO="GDCMImageIO")
    except RuntimeError:
        raise ScanError(
            path,
            "a DICOM slice that cannot be read",
            "a complete file",
            "copy or export the series again",
        ) from None
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise ScanError(path, "a colour image", "a slice of an MR scan", "remove this series")
    return image


def _check_consistent(series: Series, slices: Sequence[sitk.Image]) -> None:
    first = slices[0]
    for path, image in zip(series.files, slices, strict=True):
        consistent = image.GetSize() == first.GetSize() and all(
            np.allclose(a, b, atol=1e-3)
            for a, b in (
                (image.GetSpacing()[:2], first.GetSpacing()[:2]),
                (image.GetDirection(), first.GetDirection()),
            )
        )
        if not consistent or image.GetSize()[2] != 1:
            raise ScanError(
                series,
                f"slices of different size, spacing or direction ({path.name} and "
                f"{series.files[0].name})",
                "slices of one volume",
                "remove localisers and reformatted slices from the series",
            )


def _slice_step(series: Series, positions: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Vector from slice to slice, float (3,); `positions`, (n, 3), are sorted along the normal.

    Raises
    ------
    ScanError
        If the distances are not constant.
    """
    gaps = np.diff(positions, axis=0)
    along = gaps @ normal
    typical = float(np.median(along))
    if along.min() <= _TOLERANCE * typical:
        raise ScanError(
            series,
            f"two slices at the same position among {len(positions)}",
            "one slice per position",
            "export echoes and time points as separate series",
        )
    step = np.median(gaps, axis=0)
    if np.abs(gaps - step).max() <= _TOLERANCE * typical:
        # The mean is more precise than the median of rounded positions.
        return (positions[-1] - positions[0]) / len(gaps)
    steps = along / typical
    missing = int(np.rint(steps).sum()) - len(gaps)
    # Only gaps of whole steps are due to missing slices.
    whole = np.abs(steps - np.rint(steps)).max() <= _TOLERANCE and steps.min() > 1 - _TOLERANCE
    found = f"{missing} missing slices" if missing > 0 and whole else "irregular distances"
    raise ScanError(
        series,
        f"{found} among {len(positions)} slices ({along.min():.2f} to {along.max():.2f} mm apart)",
        "a constant slice distance",
        "export the series again, without localisers, or resample it",
    )
