"""Atomic file writes, for any file, text and JSON, and the error when writing fails."""

from __future__ import annotations

import errno
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from clisc_nnunet.errors import StorageError, UserError

# Errors that affect every case: no space, no permission, disk gone.
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


def write_json(path: Path, content: dict[str, Any], *, overwrite: bool) -> None:
    """Write JSON atomically.

    Parameters
    ----------
    path : Path
    content : dict
    overwrite : bool
        Replace an existing file with other content.

    Raises
    ------
    UserError
        If the file has other content and `overwrite` is not set.
    """
    text = json.dumps(content, indent=2) + "\n"
    if path.exists() and not overwrite and path.read_text(encoding="utf-8") != text:
        raise UserError(
            path,
            "a file with other content",
            "no file, or the same content",
            "use --overwrite, or move it away",
        )
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def atomic_file(path: Path, folder: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` when the block ends without an error.

    Content and name reach the disk before this returns, in the order of the calls: after a power
    failure a later file never exists without an earlier one.

    Parameters
    ----------
    path : Path
        Target. Its folder is created; an existing file is replaced.
    folder : Path, optional
        Folder of the temporary file, on the same file system; by default that of the target. The
        temporary file has the target's extension and a name that is unique across machines.

    Raises
    ------
    StorageError
        If the disk is full or the file cannot be written; the target is unchanged.
    """
    # The extension must stay at the end: some libraries select the format by it.
    temporary = (folder or path.parent) / f".{uuid.uuid4().hex[:12]}.{path.name}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            replace_durably(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        reported = storage_error(error, path)
        if reported is None:
            raise
        raise reported from None


def replace_durably(source: Path, target: Path) -> None:
    """`os.replace` that has reached the disk, with the content of the file, when it returns."""
    if not source.is_symlink():  # a link's target was not written here
        with source.open("rb") as file:
            os.fsync(file.fileno())
    os.replace(source, target)
    with suppress(OSError):  # not every file system can do this for a folder
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def storage_error(error: OSError, path: Path | str | None = None) -> StorageError | None:
    """Error for a full, read-only or unreachable disk; None for an OSError of another kind."""
    if error.errno not in _CANNOT_WRITE:
        return None
    return StorageError(
        path or error.filename or "a file",
        f"{error.strerror} (errno {error.errno})",
        "a writable file",
        "free space or fix the permissions, then repeat the command or resume with --continue",
    )
