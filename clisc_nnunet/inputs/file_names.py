"""What the name of a file tells: a scan's ending, a segmentation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from clisc_nnunet.errors import UserError
from clisc_nnunet.io.volume import Source

SCAN_ENDINGS = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr", ".gipl")

# BraTS 2020 has a `_Segm` among its `_seg`; later years write `-seg`.
_SEGMENTATION = re.compile(
    r"(^|[-_.])(seg|segm|segmentation|labels?|masks?|lesions?|gt|truth|annotations?|dseg|roi)$",
    re.I,
)

# Files, folders and series that are left out, each with the reason.
Ignored = list[tuple[Source, str]]


def scan_ending(path: Path) -> str | None:
    """The ending that makes a file a scan, as `SCAN_ENDINGS` spells it, or None."""
    return next((end for end in SCAN_ENDINGS if path.name.lower().endswith(end)), None)


def stem(path: Path) -> str:
    """Name without the ending of a scan."""
    return path.name[: -len(scan_ending(path) or "") or None]


def scans_among(files: Iterable[Path]) -> tuple[list[Path], Ignored]:
    """Divide files into scans and, each with its reason, those that are left out."""
    scans: list[Path] = []
    ignored: Ignored = []
    for path in files:
        if scan_ending(path) is None:
            ignored.append((path, "not a scan, by its ending"))
        elif _SEGMENTATION.search(stem(path)):
            ignored.append((path, "a segmentation, by its name"))
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
        If the folder cannot be read: nobody could say what was left out.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        hint = "mend its permissions, or move it elsewhere"
        raise UserError(folder, str(error.strerror), "a folder to be read", hint) from None
    return [path for path in entries if not path.name.startswith(".")]
