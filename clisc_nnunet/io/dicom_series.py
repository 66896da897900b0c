"""DICOM series: found by what the files say, put in order by where their slices lie.

Names and order of files mean nothing here. GDCM, through SimpleITK, reads each of them.
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

# A slice may miss its place by this share of the step between slices.
_EVEN = 0.1
# In the file's first bytes, the class of MR images, plain and enhanced: not a report, not an index.
_MR_IMAGE = re.compile(rb"1\.2\.840\.10008\.5\.1\.4\.1\.1\.4(\.1)?\0?(?![\d.])")
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
        That holds them, at any depth.
    files : tuple of Path
        In order of name, which says nothing about the order of slices.
    uid, study : str
        Of the series, and of the study it belongs to.
    description : str
        What the scanner's user called it; of use to tell modalities apart.
    patient : str
        Patient's id.
    when : str
        Date and time of the study, for their order alone.
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
        """Name of the folder, as a path has one."""
        return self.folder.name

    def absolute(self) -> Series:
        """The same series by absolute paths, for work in other processes."""
        files = tuple(path.absolute() for path in self.files)
        return replace(self, folder=self.folder.absolute(), files=files)

    @property
    def digest(self) -> str:
        """Hash of all files, whatever their names and order.

        Raises
        ------
        OSError
            If one is gone.
        """
        return hashlib.sha256("".join(sorted(map(file_sha256, self.files))).encode()).hexdigest()


@dataclass(frozen=True)
class FoundSeries:
    """What a folder holds: its series, and files of MR images that cannot be read."""

    series: tuple[Series, ...]
    broken: tuple[Path, ...]


def find_series(folder: Path, *, deep: bool = True) -> FoundSeries:
    """All series of a folder, in order of their UIDs; files are told by content, not by name.

    Parameters
    ----------
    folder : Path
    deep : bool
        Whether folders inside of it are searched too.
    """
    told: dict[str, list[tuple[Path, dict[str, str]]]] = {}
    broken = []
    for path in sorted(p for p in (folder.rglob if deep else folder.glob)("*") if p.is_file()):
        start = _start(path)
        if start[128:132] != b"DICM":
            continue
        tags = _read_tags(path)
        if tags is not None and tags["uid"]:
            told.setdefault(tags["uid"], []).append((path, tags))
        elif _MR_IMAGE.search(start):
            broken.append(path)
    series = []
    for uid, members in sorted(told.items()):
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
        If a file cannot be read, slices differ in size, pixels or direction, two lie at one place,
        or some are missing in between. One that is missing at an end cannot be known.
    """
    slices = [_read_file(path) for path in series.files]
    if len(slices) == 1:  # an enhanced file holds all slices
        image = slices[0]
        steps = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
        return sitk.GetArrayFromImage(image), geometry_of_steps(
            image.GetSize(), steps, np.array(image.GetOrigin())
        )
    _check_alike(series, slices)
    axes = np.reshape(slices[0].GetDirection(), (3, 3))
    places = np.array([image.GetOrigin() for image in slices])
    order = np.argsort(places @ axes[:, 2], kind="stable")
    step = _even_step(series, places[order], axes[:, 2])
    steps = np.column_stack([*(axes[:, :2] * slices[0].GetSpacing()[:2]).T, step])
    columns, rows, _ = slices[0].GetSize()
    array = np.concatenate(
        [sitk.GetArrayFromImage(slices[i]).astype(np.float32) for i in order], axis=0
    )
    return array, geometry_of_steps((columns, rows, len(slices)), steps, places[order[0]])


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(1024)
    except OSError:
        return b""


def _read_tags(path: Path) -> dict[str, str] | None:
    if not is_text(path):
        return None  # SimpleITK would end the process
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None  # a report, an index, or a file that was cut
    there = set(reader.GetMetaDataKeys())
    return {
        name: reader.GetMetaData(tag).strip().strip("\0") if tag in there else ""
        for name, tag in _TAGS.items()
    }


def _read_file(path: Path) -> sitk.Image:
    try:
        image = sitk.ReadImage(itk_name(path), imageIO="GDCMImageIO")
    except RuntimeError:
        raise ScanError(
            path,
            "a DICOM slice that cannot be read",
            "a whole file",
            "copy or export the series again",
        ) from None
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise ScanError(
            path, "a picture in colours", "a slice of an MR scan", "take this series out"
        )
    return image


def _check_alike(series: Series, slices: Sequence[sitk.Image]) -> None:
    first = slices[0]
    for path, image in zip(series.files, slices, strict=True):
        alike = image.GetSize() == first.GetSize() and all(
            np.allclose(a, b, atol=1e-3)
            for a, b in (
                (image.GetSpacing()[:2], first.GetSpacing()[:2]),
                (image.GetDirection(), first.GetDirection()),
            )
        )
        if not alike or image.GetSize()[2] != 1:
            raise ScanError(
                series,
                f"slices of different size, spacing or direction ({path.name} and "
                f"{series.files[0].name})",
                "slices that make one volume",
                "take scouts and reformats out of the series",
            )


def _even_step(series: Series, places: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Step from slice to slice, float (3,); `places` are (n, 3), in order along the normal."""
    gaps = np.diff(places, axis=0)
    along = gaps @ normal
    usual = float(np.median(along))
    if along.min() <= _EVEN * usual:
        raise ScanError(
            series,
            f"two slices at one place among {len(places)}",
            "one slice at each place",
            "export echoes and time points as series of their own",
        )
    missing = int(np.rint(along / usual).sum()) - len(gaps)
    if missing:
        raise ScanError(
            series,
            f"{missing} missing slices among {len(places)} (steps of {along.min():.2f} to "
            f"{along.max():.2f} mm)",
            "an even step from slice to slice",
            "export the series again",
        )
    step = np.median(gaps, axis=0)
    if np.abs(gaps - step).max() > _EVEN * usual:
        raise ScanError(
            series,
            f"uneven steps from slice to slice ({along.min():.2f} to {along.max():.2f} mm)",
            "an even step",
            "export the series again",
        )
    # The mean is more precise than the median of rounded positions.
    return (places[-1] - places[0]) / len(gaps)
