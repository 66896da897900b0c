"""Walk down a folder: files with the folders above them; bounded, and without following loops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clisc_nnunet.inputs.file_names import Ignored, visible

# Folders below the input folder; public data sets have up to five (`SET/SITE/PATIENT/TIME/anat`).
MAX_DEPTH = 7


@dataclass(frozen=True)
class TreeFile:
    """A file, and the names of the folders between the input folder and itself."""

    path: Path
    folders: tuple[str, ...]


@dataclass(frozen=True)
class FileTree:
    """The files below a folder, those of one folder together, and what was not entered."""

    root: Path
    files: tuple[TreeFile, ...]
    folders: tuple[Path, ...]
    ignored: Ignored

    def empty_folders(self, used: set[Path]) -> list[Path]:
        """The uppermost folders that contain none of `used`, paths of files and of folders."""
        above = set(used)
        for path in used:
            while path.parent not in above and path != self.root:
                path = path.parent
                above.add(path)
        return [path for path in self.folders if path not in above and path.parent in above]


def walk(root: Path, leave_out: Callable[[Path], str] = lambda _: "") -> FileTree:
    """Files below a folder, up to `MAX_DEPTH` folders down; hidden ones are left out.

    Links are followed once the folders themselves are known, so that no folder is entered twice.

    Parameters
    ----------
    leave_out : callable
        Reason for not entering a folder; empty to enter it.

    Raises
    ------
    UserError
        If a folder cannot be read.
    """
    files: list[TreeFile] = []
    folders: list[Path] = []
    ignored: Ignored = []
    entered: dict[tuple[int, int], Path] = {}
    above = {_identity(path) for path in root.resolve().parents}
    pending: list[tuple[Path, tuple[str, ...]]] = [(root, ())]
    links: list[tuple[Path, tuple[str, ...]]] = []
    while pending or links:
        folder, names = pending.pop() if pending else links.pop(0)
        identity = _identity(folder)
        if identity in above or identity in entered:
            ignored.append((folder, "a link to a folder that contains it, or is searched anyway"))
            continue
        entered[identity] = folder
        if names:
            folders.append(folder)
        for path in visible(folder):
            if not path.is_dir():
                files.append(TreeFile(path, names))
                continue
            reason = leave_out(path)
            if not reason and len(names) >= MAX_DEPTH:
                reason = f"more than {MAX_DEPTH} folders down"
            if reason:
                ignored.append((path, reason))
            else:
                (links if path.is_symlink() else pending).append((path, (*names, path.name)))
    files.sort(key=lambda file: (file.path.parent, file.path.name))
    return FileTree(root, tuple(files), tuple(sorted(folders)), sorted(ignored, key=_by_path))


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _by_path(item: tuple[object, str]) -> str:
    return str(item[0])
