"""DICOM series: group files by their headers, sort slices by position, read them as a volume.

File names and file order are ignored. Files are read by GDCM through SimpleITK.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.geometry import Geometry, geometry_of_steps
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.io.paths import is_text, itk_name

# Tolerated deviation of a slice from its expected position, as a share of the slice distance.
_TOLERANCE = 0.1
# SOP class of classic and enhanced MR images (not of reports or indices) in a file's first bytes.
_MR_IMAGE = re.compile(rb"1\.2\.840\.10008\.5\.1\.4\.1\.1\.4(\.1)?\0?(?![\d.])")
_MAGIC = b"DICM"
_TAGS = {
    "uid": "0020|000e",
    "study": "0020|000d",
    "description": "0008|103e",
    "protocol": "0018|1030",
    "patient": "0010|0020",
    "date": "0008|0020",
    "time": "0008|0030",
}


@dataclass(frozen=True)
class Series:
    """The files of one DICOM series.

    Parameters
    ----------
    folder : Path
        Folder that contains them, at any depth.
    files : tuple of Path
        Sorted by name, which is unrelated to the order of slices.
    uid, study : str
        Instance UIDs of the series and of its study.
    description : str
        Series description or protocol name, from which the modality is derived.
    patient : str
        Patient ID.
    when : str
        Date and time of the study; used for sorting only.
    """

    folder: Path
    files: tuple[Path, ...]
    uid: str
    study: str = ""
    description: str = ""
    patient: str = ""
    when: str = ""

    def __str__(self) -> str:
        return f"{self.folder} (DICOM series {self.description or self.uid!r})"

    @property
    def name(self) -> str:
        """Name of the folder, as `Path.name`."""
        return self.folder.name

    def absolute(self) -> Series:
        """The same series with absolute paths, for other processes."""
        files = tuple(path.absolute() for path in self.files)
        return replace(self, folder=self.folder.absolute(), files=files)

    @property
    def digest(self) -> str:
        """Hash of the content of all files, independent of their names and order.

        Raises
        ------
        OSError
            If one cannot be read.
        """
        return hashlib.sha256("".join(sorted(map(file_sha256, self.files))).encode()).hexdigest()


@dataclass(frozen=True)
class FoundSeries:
    """The series of a folder, and its MR image files that cannot be read."""

    series: tuple[Series, ...]
    broken: tuple[Path, ...]


def find_series(folder: Path, *, deep: bool = True) -> FoundSeries:
    """All series of a folder, sorted by UID; DICOM files are detected by content, not by name.

    Parameters
    ----------
    folder : Path
    deep : bool
        Search subfolders too.
    """
    by_uid: dict[str, list[tuple[Path, dict[str, str]]]] = {}
    broken = []
    for path in sorted(p for p in (folder.rglob if deep else folder.glob)("*") if p.is_file()):
        start = _start(path)
        if start[128:132] != _MAGIC:
            continue
        tags = _read_tags(path)
        if tags is not None and tags["uid"]:
            by_uid.setdefault(tags["uid"], []).append((path, tags))
        elif _MR_IMAGE.search(start):
            broken.append(path)
    series = []
    for uid, members in sorted(by_uid.items()):
        tags = members[0][1]
        series.append(
            Series(
                folder,
                tuple(path for path, _ in members),
                uid,
                study=tags["study"],
                description=tags["description"] or tags["protocol"],
                patient=tags["patient"],
                when=tags["date"] + tags["time"],
            )
        )
    return FoundSeries(tuple(series), tuple(broken))


def read_series(series: Series) -> tuple[np.ndarray, Geometry]:
    """Read the slices of a series as one volume.

    Returns
    -------
    float ndarray of shape (plane, row, column), Geometry

    Raises
    ------
    ScanError
        If a file cannot be read, slices differ in size, spacing or direction, two have the same
        position, or some in between are missing. Slices missing at an end cannot be detected.
    """
    slices = [_read_file(path) for path in series.files]
    if len(slices) == 1:  # an enhanced file contains all slices
        image = slices[0]
        steps = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
        return sitk.GetArrayFromImage(image), geometry_of_steps(
            image.GetSize(), steps, np.array(image.GetOrigin())
        )
    _check_consistent(series, slices)
    axes = np.reshape(slices[0].GetDirection(), (3, 3))
    positions = np.array([image.GetOrigin() for image in slices])
    order = np.argsort(positions @ axes[:, 2], kind="stable")
    step = _slice_step(series, positions[order], axes[:, 2])
    steps = np.column_stack([*(axes[:, :2] * slices[0].GetSpacing()[:2]).T, step])
    columns, rows, _ = slices[0].GetSize()
    array = np.concatenate(
        [sitk.GetArrayFromImage(slices[i]).astype(np.float32) for i in order], axis=0
    )
    return array, geometry_of_steps((columns, rows, len(slices)), steps, positions[order[0]])


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, by its content."""
    return _start(path)[128:132] == _MAGIC


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(1024)
    except OSError:
        return b""


def _read_tags(path: Path) -> dict[str, str] | None:
    if not is_text(path):
        return None  # SimpleITK would terminate the process
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None  # a report, an index, or a truncated file
    keys = set(reader.GetMetaDataKeys())
    return {
        name: reader.GetMetaData(tag).strip().strip("\0") if tag in keys else ""
        for name, tag in _TAGS.items()
    }


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
    """Vector from slice to slice, float (3,); `positions`, (n, 3), are sorted along the normal."""
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
    missing = int(np.rint(along / typical).sum()) - len(gaps)
    if missing:
        raise ScanError(
            series,
            f"{missing} missing slices among {len(positions)} (distances of {along.min():.2f} to "
            f"{along.max():.2f} mm)",
            "a constant slice distance",
            "export the series again",
        )
    step = np.median(gaps, axis=0)
    if np.abs(gaps - step).max() > _TOLERANCE * typical:
        raise ScanError(
            series,
            f"irregular slice distances ({along.min():.2f} to {along.max():.2f} mm)",
            "a constant slice distance",
            "export the series again",
        )
    # The mean is more precise than the median of rounded positions.
    return (positions[-1] - positions[0]) / len(gaps)
