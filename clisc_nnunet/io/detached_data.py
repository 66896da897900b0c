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
_META_ENTRY = re.compile(r"\s*ElementDataFile\s*[=:](.*)", re.I)
_NRRD_ENTRY = re.compile(r"\s*data\s*file\s*:(.*)", re.I)
# Longest text header, and most files of one volume.
_HEADER_BYTES, _MAX_FILES = 1 << 18, 10_000
# A voxel of 8 bytes is written in no less than two characters, the last one in one.
_TEXT_RATIO = 4


def data_files(path: Path) -> tuple[Path, ...]:
    """Files with the voxels of a MetaImage or NRRD header; empty if it contains them itself.

    Raises
    ------
    ScanError
        If a file is absolute, outside the header's folder, or not regular, or the header too long.
    OSError
        If the header cannot be read.
    """
    lines = _header_lines(path)
    entry = _META_ENTRY if path.name.lower().endswith(_META) else _NRRD_ENTRY
    found = next(((n, m[1].strip()) for n, m in enumerate(map(entry.match, lines)) if m), None)
    if found is None or (entry is _META_ENTRY and found[1].upper() == "LOCAL"):
        return ()
    number, name = found
    if re.match(r"LIST\b", name, re.I):
        names = [line.strip() for line in lines[number + 1 :] if line.strip()]
    elif "%" in name:
        names = _numbered(path, name)
    else:
        names = [name]
    if len(names) > _MAX_FILES:
        raise _refused(path, f"{len(names)} data files")
    return tuple(_checked(path, one) for one in names)


def most_bytes(path: Path, files: tuple[Path, ...]) -> float:
    """The most bytes of voxels that a header and its `data_files` can contain, by their sizes.

    Raises
    ------
    OSError
        If one of them is missing.
    """
    size = sum(file.stat().st_size for file in files or (path,))
    header = "\n".join(_header_lines(path))
    if re.search(r"^CompressedData\s*[=:]\s*True|^encoding:\s*gz", header, re.I | re.M):
        return size * GZIP_RATIO
    if re.search(r"^BinaryData\s*[=:]\s*False|^encoding:\s*(te?xt|ascii)", header, re.I | re.M):
        return (size + 1) * _TEXT_RATIO
    # There is no bound for bzip2.
    return math.inf if re.search(r"^encoding:\s*bz", header, re.I | re.M) else size


def _header_lines(path: Path) -> list[str]:
    """Lines of the text header, without voxels that follow it; empty for other formats."""
    name = path.name.lower()
    if not name.endswith(_META + _NRRD):
        return []
    with path.open("rb") as file:
        text = file.read(_HEADER_BYTES).decode("latin-1")
        whole = not file.read(1)
    lines = text.split("\n")
    if name.endswith(_META):
        end = next((n + 1 for n, line in enumerate(lines) if _META_ENTRY.match(line)), None)
        is_list = end is not None and "LIST" in lines[end - 1].upper()
        if is_list:
            end = None
    else:
        end = next((n for n, line in enumerate(lines) if not line.strip()), None)
    if end is None and not whole:
        raise _refused(path, f"a header of more than {_HEADER_BYTES} bytes")
    return lines[:end]


def _numbered(path: Path, entry: str) -> list[str]:
    """Names such as `slice%03d.raw 1 40 1`."""
    pattern, *numbers = entry.split()
    try:
        first, last, step = (int(number) for number in [*numbers, "1"][:3])
        return [pattern % number for number in range(first, last + 1, step)[: _MAX_FILES + 1]]
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
