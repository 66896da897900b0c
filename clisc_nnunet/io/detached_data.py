"""Voxels that lie beside their header: MetaImage and NRRD name the files in which to look.

A name is taken only if it stays in the header's folder and is a regular file: ITK would copy any
file of this computer into a volume, and wait for ever at a pipe.
"""

from __future__ import annotations

import math
import re
from pathlib import Path, PurePath, PureWindowsPath

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.claimed_size import GZIP_RATIO

_META, _NRRD = (".mha", ".mhd"), (".nrrd", ".nhdr")
# Longest text header, and most files, that are looked at.
_HEADER_BYTES, _MAX_FILES = 1 << 20, 10_000


def data_files(path: Path) -> tuple[Path, ...]:
    """Files with the voxels of a MetaImage or NRRD header; empty if it contains them itself.

    Raises
    ------
    ScanError
        If a file is absolute, outside the header's folder, or not regular.
    OSError
        If the header cannot be read.
    """
    if not path.name.lower().endswith(_META + _NRRD):
        return ()
    lines = _header_lines(path)
    if path.name.lower().endswith(_META):
        entry = _entry(lines, r"ElementDataFile\s*=")
        local = entry is None or entry[0].upper() == "LOCAL"
    else:
        entry = _entry(lines, r"data ?file:")
        local = entry is None
    if local or entry is None:
        return ()
    name, following = entry
    if re.match(r"LIST\b", name):
        names = [line for line in following if line][:_MAX_FILES]
    elif "%" in name:
        names = _numbered(path, name)
    else:
        names = [name]
    return tuple(_checked(path, one) for one in names)


def most_bytes(path: Path, files: tuple[Path, ...]) -> float:
    """The most bytes of voxels that a header's files can contain, by their sizes.

    Raises
    ------
    OSError
        If one of them is missing.
    """
    size = sum(file.stat().st_size for file in files or (path,))
    if not path.name.lower().endswith(_META + _NRRD):
        return size
    text = "\n".join(_header_lines(path))
    if re.search(r"^encoding:\s*(raw|hex|ascii|te?xt)", text, re.I | re.M):
        return size
    compressed = re.search(r"^(CompressedData\s*=\s*True|encoding:\s*gz)", text, re.I | re.M)
    if compressed:
        return size * GZIP_RATIO
    return math.inf if re.search(r"^encoding:", text, re.I | re.M) else size


def _header_lines(path: Path) -> list[str]:
    """Lines of the text header, without voxels that follow it in the same file."""
    with path.open("rb") as file:
        text = file.read(_HEADER_BYTES).decode("latin-1")
    if path.name.lower().endswith(_NRRD):
        text = re.split(r"\r?\n\r?\n", text, maxsplit=1)[0]
    else:
        text = re.split(r"(?<=LOCAL)\s*\n", text, maxsplit=1, flags=re.I)[0]
    return [line.strip() for line in text.split("\n")]


def _entry(lines: list[str], key: str) -> tuple[str, list[str]] | None:
    """Value of the first line with this key, and the lines after it; None if there is none."""
    for number, line in enumerate(lines):
        if found := re.match(key, line, re.I):
            return line[found.end() :].strip(), lines[number + 1 :]
    return None


def _numbered(path: Path, entry: str) -> list[str]:
    """Names such as `slice%03d.raw 1 40 1`."""
    pattern, *numbers = entry.split()
    try:
        first, last, step = (int(number) for number in [*numbers, "1"][:3])
        return [pattern % number for number in range(first, last + 1, step)[:_MAX_FILES]]
    except (ValueError, TypeError, OverflowError):
        raise _refused(path, f"an invalid list of data files, {entry!r}") from None


def _checked(path: Path, name: str) -> Path:
    is_absolute = PurePath(name).is_absolute() or PureWindowsPath(name).drive != ""
    if is_absolute or "\0" in name or ".." in PureWindowsPath(name).parts:
        raise _refused(path, f"its voxels in {name!r}, outside of its folder")
    file = path.parent / name
    if file.exists() and not file.is_file():
        raise _refused(path, f"its voxels in {name!r}, which is not a regular file")
    return file


def _refused(path: Path, found: str) -> ScanError:
    return ScanError(path, found, "a file in the folder of the header", "convert it to .nii.gz")
