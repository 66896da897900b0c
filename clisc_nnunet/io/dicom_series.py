"""DICOM series: group files by their headers.

File names and file order are ignored. Files are read by GDCM through SimpleITK.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path

from clisc_nnunet.io.dicom_header import gdcm_header
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.io.paths import is_text

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


def find_series(folder: Path, *, deep: bool = True, skip: tuple[str, ...] = ()) -> FoundSeries:
    """All series of a folder, sorted by UID; DICOM files are detected by content, not by name.

    Parameters
    ----------
    folder : Path
    deep : bool
        Search subfolders too.
    skip : tuple of str
        Endings, in lower case, of files that are not opened.
    """
    by_uid: dict[str, list[tuple[Path, dict[str, str]]]] = {}
    broken = []
    for path in sorted(p for p in (folder.rglob if deep else folder.glob)("*") if p.is_file()):
        if path.name.lower().endswith(skip):
            continue
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
    reader = gdcm_header(path)
    if reader is None:
        return None  # a report, an index, or a truncated file
    keys = set(reader.GetMetaDataKeys())
    return {
        name: reader.GetMetaData(tag).strip().strip("\0") if tag in keys else ""
        for name, tag in _TAGS.items()
    }
