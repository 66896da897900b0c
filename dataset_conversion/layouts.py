"""Which scans lie in a folder: three layouts, found by file names alone.

No file is opened here, and none that is named like a segmentation is ever taken as a scan.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from clisc_nnunet.errors import UserError

SCAN_ENDINGS = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr", ".gipl")

# BraTS 2020 has a `_Segm` among its `_seg`; later years write `-seg`.
_SEGMENTATION = re.compile(
    r"(^|[-_.])(seg|segm|segmentation|labels?|masks?|lesions?|gt|truth|annotations?)$", re.I
)
_FLAIR = re.compile(r"(^|[-_.])(flair|t2f)$", re.I)
_OTHER_MODALITY = re.compile(r"[-_.](t1|t1w|t1n|t1c|t1ce|t1gd|t2|t2w|pd|dwi|adc|swi)$", re.I)
_CHANNEL = re.compile(r"(?P<case>.+)_(?P<number>\d{4})$")

_LOOKED_FOR = (
    f"CASE/CASE_flair.nii.gz, CASE_0000.nii.gz or CASE.nii.gz (or {', '.join(SCAN_ENDINGS[1:])})"
)


@dataclass(frozen=True)
class Case:
    """One FLAIR scan to be segmented, and the name that nnU-Net will know it by."""

    name: str
    image: Path


@dataclass(frozen=True)
class InputFolder:
    """What a folder of scans holds.

    Parameters
    ----------
    layout : str
        `BraTS-like`, `nnU-Net` or `flat`.
    cases : tuple of Case
        Sorted by name.
    ignored : tuple of (Path, str)
        Files and folders that were left out, each with the reason.
    """

    layout: str
    cases: tuple[Case, ...]
    ignored: tuple[tuple[Path, str], ...]


def find_cases(folder: Path) -> InputFolder:
    """List the FLAIR scans of a folder.

    Parameters
    ----------
    folder : Path
        In one of three layouts: `CASE/CASE_flair.nii.gz` (BraTS-like), `CASE_0000.nii.gz`
        (nnU-Net), `CASE.nii.gz` or `CASE_flair.nii.gz` (flat); any ending of `SCAN_ENDINGS`.

    Returns
    -------
    InputFolder

    Raises
    ------
    UserError
        If there is no scan, no FLAIR among several modalities, more than one file for a case,
        more than one layout, or a name that nnU-Net cannot take.

    Notes
    -----
    Names such as `phantom_0000`, `phantom_0001` could be a series of cases or the channels of
    one. They are channels where several cases have the same set of numbers, else a series.
    """
    if not folder.is_dir():
        raise UserError(
            folder,
            "a file" if folder.exists() else "no such folder",
            "a folder of scans",
            "check the path",
        )
    entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
    if not entries:
        raise UserError(folder, "an empty folder", _LOOKED_FOR, "check the path")

    nested = _nested([entry for entry in entries if entry.is_dir()])
    flat = _flat(folder, [entry for entry in entries if not entry.is_dir()])
    if nested.cases and flat.cases:
        raise UserError(
            folder,
            f"{len(nested.cases)} case folders and {len(flat.cases)} scans beside them",
            "one layout",
            "move one of the two elsewhere",
        )
    found = nested if nested.cases else flat
    if not found.cases:
        raise _nothing_found(folder, (*nested.ignored, *flat.ignored))
    _check_names(found.cases)
    cases = tuple(sorted(found.cases, key=lambda case: case.name))
    return InputFolder(found.layout, cases, (*nested.ignored, *flat.ignored))


def scan_ending(path: Path) -> str | None:
    """The ending that makes a file a scan, as `SCAN_ENDINGS` spells it, or None."""
    return next((end for end in SCAN_ENDINGS if path.name.lower().endswith(end)), None)


def _nested(folders: Iterable[Path]) -> InputFolder:
    """One folder per case, each with a FLAIR scan; nothing else of it is taken."""
    cases, ignored = [], []
    for folder in folders:
        files = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
        scans, rejected = _scans(files, lambda stem: bool(_FLAIR.search(stem)), "not FLAIR")
        ignored += rejected
        if len(scans) > 1:
            raise _two_files(folder.name, scans)
        if scans:
            cases.append(Case(folder.name, scans[0]))
        else:
            ignored.append((folder, "no FLAIR scan in this folder"))
    return InputFolder("BraTS-like", tuple(cases), tuple(ignored))


def _flat(folder: Path, files: Iterable[Path]) -> InputFolder:
    """All scans in one folder: nnU-Net's names if all end in `_0000`, else plain names."""
    scans, ignored = _scans(
        files, lambda stem: not _OTHER_MODALITY.search(stem), "not FLAIR, by its name"
    )
    channels = [_CHANNEL.fullmatch(_stem(path)) for path in scans]
    if scans and all(match and match["number"] == "0000" for match in channels):
        names = [_stem(path).removesuffix("_0000") for path in scans]
        layout = "nnU-Net"
    else:
        _refuse_channels(folder, [match for match in channels if match])
        names = [_FLAIR.sub("", _stem(path)) for path in scans]
        layout = "flat"
    cases = tuple(Case(name, path) for name, path in zip(names, scans, strict=True))
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise _two_files(repeated[0], [case.image for case in cases if case.name == repeated[0]])
    return InputFolder(layout, cases, tuple(ignored))


def _scans(
    files: Iterable[Path], wanted: Callable[[str], bool], otherwise: str
) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Divide files into scans and, each with its reason, those that are left out."""
    scans, ignored = [], []
    for path in files:
        if scan_ending(path) is None:
            ignored.append((path, "not a scan, by its ending"))
        elif _SEGMENTATION.search(_stem(path)):
            ignored.append((path, "a segmentation, by its name"))
        elif not wanted(_stem(path)):
            ignored.append((path, otherwise))
        elif not path.is_file():
            ignored.append((path, "a folder or a broken link"))
        else:
            scans.append(path)
    return scans, ignored


def _stem(path: Path) -> str:
    return path.name[: -len(scan_ending(path) or "") or None]


def _refuse_channels(folder: Path, matches: list[re.Match[str]]) -> None:
    """Refuse nnU-Net's layout with several channels: which of them is FLAIR is not in the name."""
    numbers: dict[str, set[str]] = {}
    for match in matches:
        numbers.setdefault(match["case"], set()).add(match["number"])
    first = next(iter(numbers.values()), set())
    if len(numbers) > 1 and len(first) > 1 and all(n == first for n in numbers.values()):
        raise UserError(
            folder,
            f"{len(first)} channels of each case ({', '.join(sorted(first))})",
            "FLAIR alone, as CASE_0000.nii.gz",
            "copy or link the FLAIR channel into a folder of its own",
        )


def _check_names(cases: Iterable[Case]) -> None:
    for case in cases:
        # nnU-Net keeps the label of case A in a file A_seg and skips cases that look like one.
        if not case.name or case.name.endswith("_seg"):
            raise UserError(
                case.image,
                f"the case name {case.name!r}",
                "a name that is not empty and does not end in _seg",
                "rename it",
            )


def _two_files(name: str, paths: list[Path]) -> UserError:
    return UserError(
        paths[0].parent,
        f"{len(paths)} files for case {name} ({', '.join(path.name for path in paths)})",
        "one FLAIR scan per case",
        "remove all but one",
    )


def _nothing_found(folder: Path, ignored: tuple[tuple[Path, str], ...]) -> UserError:
    images = folder / "imagesTr"
    if images.is_dir():
        return UserError(
            folder, "a whole nnU-Net dataset", "a folder of scans", f"give {images} instead"
        )
    others = sum("not FLAIR" in reason for _, reason in ignored)
    if others:
        return UserError(
            folder,
            f"no FLAIR among {others} scans",
            "scans named ..._flair",
            "rename those that are FLAIR",
        )
    return UserError(
        folder,
        f"no scan among {len(ignored)} files and folders",
        _LOOKED_FOR,
        "check the path and the names",
    )
