"""Files that are written whole or not at all, and what is said where that cannot be done."""

from __future__ import annotations

import errno
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clisc_nnunet.errors import StorageError, UserError

# What no case can mend: no space, no permission, no such disk any more.
_CANNOT_WRITE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ESTALE,
}


@contextmanager
def atomic_file(path: Path, folder: Path | None = None) -> Iterator[Path]:
    """Give a temporary path that takes the place of `path` when the block ends without an error.

    Parameters
    ----------
    path : Path
        Target; its folder is made. Replaced if it is there.
    folder : Path, optional
        Where the temporary file lies, on the same file system; by default beside the target. Its
        name ends as the target's does, and no other process, on whatever machine, has the same.

    Raises
    ------
    StorageError
        If the disk is full or the file cannot be written; the target is left as it was.
    """
    # The ending has to stay the last part of the name: some libraries choose the format by it.
    temporary = (folder or path.parent) / f".{uuid.uuid4().hex[:12]}.{path.name}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        told = storage_error(error, path)
        if told is None:
            raise
        raise told from None


def storage_error(error: OSError, path: Path | str | None = None) -> StorageError | None:
    """The line for a disk that is full or closed to us; None for an error of another kind."""
    if error.errno not in _CANNOT_WRITE:
        return None
    return StorageError(
        path or error.filename or "a file",
        f"{error.strerror} (errno {error.errno})",
        "a file that can be written",
        "make room or mend the permissions, then repeat the command, or go on with --continue",
    )


def write_json(path: Path, content: dict[str, Any], *, overwrite: bool) -> None:
    """Write JSON whole or not at all.

    Parameters
    ----------
    path : Path
    content : dict
    overwrite : bool
        Replace a file that says something else.

    Raises
    ------
    UserError
        If the file says something else and `overwrite` is not set.
    """
    text = json.dumps(content, indent=2) + "\n"
    if path.exists() and not overwrite and path.read_text(encoding="utf-8") != text:
        raise UserError(
            path,
            "a file with other content",
            "none, or one with the same",
            "use --overwrite, or move it away",
        )
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
