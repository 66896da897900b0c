"""Recognise scans by their extensions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from clisc_nnunet.errors import UserError
from clisc_nnunet.io.volume import Source

SCAN_ENDINGS = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr", ".gipl", ".mgz", ".mgh")

NOT_AN_IMAGE = "not a scan, by its ending"

# Skipped files, folders and series, each with the reason.
Ignored = list[tuple[Source, str]]


def scan_ending(path: Path) -> str | None:
    """Scan extension of a file as spelt in `SCAN_ENDINGS`, or None."""
    return next((end for end in SCAN_ENDINGS if path.name.lower().endswith(end)), None)


def stem(path: Path) -> str:
    """File name without its scan extension."""
    return path.name[: -len(scan_ending(path) or "") or None]


def scans_among(files: Iterable[Path]) -> tuple[list[Path], Ignored]:
    """Split files into images and skipped files, the latter with the reason."""
    scans: list[Path] = []
    ignored: Ignored = []
    for path in files:
        if scan_ending(path) is None:
            ignored.append((path, NOT_AN_IMAGE))
        elif not path.is_file():
            ignored.append((path, "a folder or a broken link"))
        else:
            scans.append(path)
    return scans, ignored


def visible(folder: Path) -> list[Path]:
    """Entries of a folder that are not hidden, sorted.

    Raises
    ------
    UserError
        If the folder cannot be read: its scans must not be skipped unnoticed.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        hint = "fix its permissions, or move it elsewhere"
        raise UserError(folder, str(error.strerror), "a readable folder", hint) from None
    return [path for path in entries if not path.name.startswith(".")]
