"""File names, which may contain bytes that are not valid UTF-8."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

from clisc_nnunet.errors import ScanError, one_line


def is_text(path: Path) -> bool:
    """Whether a path is valid UTF-8, as most libraries assume."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def without_folder(name: str) -> str:
    """Model name without local folders: of an absolute path, also in `NAME=PATH`, the file name."""
    if os.path.isabs(name):
        return PurePath(name).name
    entry, equals, path = name.partition("=")
    return f"{entry}={PurePath(path).name}" if equals and os.path.isabs(path) else name


def itk_name(path: Path) -> str:
    """The path as a string for SimpleITK.

    Raises
    ------
    ScanError
        If it is not valid UTF-8: SimpleITK would terminate the process without a message.
    """
    if is_text(path):
        return str(path)
    raise ScanError(
        one_line(path), "a name that is not valid UTF-8", "UTF-8", "rename the file or folder"
    )
