"""Names of files, which may hold bytes that are no text."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

from clisc_nnunet.errors import ScanError, one_line


def is_text(path: Path) -> bool:
    """Whether a path is text, as all libraries take it for granted."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def without_folder(name: str) -> str:
    """A name as it may travel: of an absolute path, also in `LIKE=PATH`, the last part alone."""
    if os.path.isabs(name):
        return PurePath(name).name
    like, equals, path = name.partition("=")
    return f"{like}={PurePath(path).name}" if equals and os.path.isabs(path) else name


def itk_name(path: Path) -> str:
    """The path as SimpleITK takes it.

    Raises
    ------
    ScanError
        If it is no text: SimpleITK would end the whole process without a word.
    """
    if is_text(path):
        return str(path)
    raise ScanError(
        one_line(path), "a name with bytes that are no text", "UTF-8", "rename the file or folder"
    )
