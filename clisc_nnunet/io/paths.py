"""File names that may not be valid UTF-8, and checks of output folders."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

from clisc_nnunet.errors import ScanError, UserError, one_line


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


def check_output(folder: Path, scans: Path, *, reuse: bool, option: str) -> None:
    """Check that a command can write into an output folder.

    Parameters
    ----------
    folder, scans : Path
        Output and input.
    reuse : bool
        Whether the folder may contain files already.
    option : str
        Option of the command that allows it, for the message.

    Raises
    ------
    UserError
        If it is the folder of the scans, a file, or not empty (unless `reuse`).
    """
    expected = "a new or empty folder"
    if folder.resolve() == scans.resolve():
        raise UserError(folder, "the folder of the scans", expected, "choose another with -o")
    if any(place.is_file() for place in (folder, *folder.parents)):
        raise UserError(folder, "a file", expected, "choose another with -o")
    if not reuse and folder.is_dir() and any(folder.iterdir()):
        raise UserError(folder, "files", expected, f"use {option}, or choose another folder")
