"""Find the cases of an input folder, whatever its layout.

Files named like a mask or another derivative are never used as scans, and never opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from clisc_nnunet.errors import ScanError, UserError, one_line
from clisc_nnunet.inputs.bids import find_bids, is_bids
from clisc_nnunet.inputs.case_names import NO_MODALITY, found_scans
from clisc_nnunet.inputs.cases import (
    UNKNOWN,
    Case,
    FoundScan,
    accepts_unnamed,
    assign_label_channel,
    group,
)
from clisc_nnunet.inputs.channels import FLAIR, Channel, chosen_channels
from clisc_nnunet.inputs.dicom_folders import contains_dicom, find_dicom
from clisc_nnunet.inputs.file_names import (
    NOT_AN_IMAGE,
    SCAN_ENDINGS,
    Ignored,
    scan_ending,
    scans_among,
    visible,
)
from clisc_nnunet.inputs.file_tree import FileTree, TreeFile, walk
from clisc_nnunet.inputs.nnunet_folder import numbered_scans
from clisc_nnunet.inputs.refusals import EXPECTED, nothing_found
from clisc_nnunet.inputs.scan_names import (
    NOT_NAMED,
    NamedScan,
    leave_out_folder,
    named_scans,
    without_masks,
)
from clisc_nnunet.inputs.several_scans import choose_scans
from clisc_nnunet.io.dicom_series import Series
from clisc_nnunet.io.volume import Source

__all__ = [
    "SCAN_ENDINGS",
    "Case",
    "InputFolder",
    "find_cases",
    "find_label_channel_scans",
    "scan_ending",
]

# At most this many skipped files are listed per reason.
_LISTED = 3


@dataclass(frozen=True)
class InputFolder:
    """The cases of an input folder.

    Parameters
    ----------
    layout : str
        `BraTS-like`, `nnU-Net`, `BIDS`, `DICOM`, `flat`, `nested` (several folders down), or
        `NIfTI and DICOM`.
    cases : tuple of Case
        Sorted by name.
    ignored : tuple of (Path or Series, str)
        Skipped files, folders and series, each with the reason.
    faults : tuple of (str, ScanError)
        Unusable cases with their errors, sorted by name.
    channels : tuple of str
        One line per channel: number, name, and how its files were identified.
    notes : tuple of str
        What a user should know about how the folder was understood.
    """

    layout: str
    cases: tuple[Case, ...]
    ignored: tuple[tuple[Source, str], ...]
    faults: tuple[tuple[str, ScanError], ...] = ()
    channels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Contents:
    """What a folder contains before its scans are grouped into cases."""

    layout: str
    scans: list[FoundScan]
    ignored: Ignored
    broken: dict[str, ScanError]
    channels: Sequence[Channel]
    notes: tuple[str, ...] = ()


def find_cases(
    folder: Path,
    channels: Sequence[Channel] = (Channel(FLAIR),),
    label_channel: str = FLAIR,
    numbers: Mapping[str, str] | None = None,
) -> InputFolder:
    """Find the cases of a folder.

    Parameters
    ----------
    folder : Path
        `CASE/CASE_flair.nii.gz` (BraTS-like), `CASE_0000.nii.gz` (nnU-Net),
        `sub-*/[ses-*/]anat/*_FLAIR.nii.gz` (BIDS), `CASE/.../` with DICOM files of any name,
        `CASE.nii.gz` or `CASE_flair.nii.gz` (flat), or folders in folders of them; any extension
        of `SCAN_ENDINGS`. Words of a name may stand anywhere in it.
    channels : sequence of Channel
        Modalities that become nnU-Net's channels, in this order.
    label_channel : str
        Name of the channel from which pseudo-labels are made.
    numbers : mapping of str to str, optional
        nnU-Net channel number, such as `0003`, of each modality; used if the folder has exactly
        these numbers. A dataset.json next to the folder takes precedence.

    Returns
    -------
    InputFolder

    Raises
    ------
    UserError
        If there is no scan, no usable case, or ambiguous channels.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise UserError(folder, found, "a folder of scans", "check the path")
    if not visible(folder):
        raise UserError(folder, "an empty folder", EXPECTED, "check the path")
    contents = _read_layout(folder, channels, label_channel, numbers or {})
    requested = contents.channels
    scans = assign_label_channel(contents.scans, requested, label_channel)
    scans, ignored = choose_scans(scans, requested, label_channel)
    wanted = {channel.name for channel in requested}
    ignored += contents.ignored
    ignored += [
        (scan.source, _not_requested(scan, requested))
        for scan in scans
        if scan.modality not in wanted and (scan.modality or isinstance(scan.source, Series))
    ]
    cases, faults = group(scans, requested, label_channel, folder)
    faults.update(contents.broken)
    cases = [case for case in cases if case.name not in contents.broken]
    if not cases:
        raise nothing_found(folder, scans, ignored, faults, label_channel)
    single = accepts_unnamed(requested)
    lines = [
        f"channel {n}: {c.name} ({_identified_by(contents.layout, c, single)})"
        for n, c in enumerate(requested)
    ]
    return InputFolder(
        contents.layout,
        tuple(cases),
        tuple(ignored),
        tuple(sorted(faults.items())),
        tuple(lines),
        contents.notes,
    )


def find_label_channel_scans(
    folder: Path, words: Sequence[str], label_channel: str, numbers: Mapping[str, str] | None = None
) -> dict[str, Source]:
    """Scans of the label channel by case, for commands that need no other channel.

    Parameters
    ----------
    folder : Path
    words : sequence of str
        Argument of `--channels`; see `chosen_channels`.
    label_channel : str
    numbers : mapping of str to str, optional
        See `find_cases`.

    Raises
    ------
    UserError
        See `find_cases` and `chosen_channels`.
    """
    found = find_cases(folder, chosen_channels(words, label_channel), label_channel, numbers)
    return {case.name: case.image for case in found.cases}


def describe(found: InputFolder, label_channel: str = FLAIR) -> str:
    """Summary of an input folder for the terminal."""
    lines = [f"{found.layout} folder of {len(found.cases)} cases"]
    lines += [f"  {line}" for line in found.channels]
    lines += [f"  note: {one_line(note)}" for note in found.notes]
    if label_channel != FLAIR:
        lines.append(
            f"  note: pseudo-labels from {label_channel}; the bundled models know FLAIR only"
        )
    by_reason = sorted(found.ignored, key=lambda item: (item[1], str(item[0])))
    for reason, items in groupby(by_reason, key=lambda item: item[1]):
        paths = [path for path, _ in items]
        lines += [f"  left out: {one_line(path)} ({reason})" for path in paths[:_LISTED]]
        if paths[_LISTED:]:
            lines.append(f"  left out: {len(paths) - _LISTED} more ({reason})")
    lines += [f"  skipped: {fault}" for _, fault in found.faults]
    return "\n".join(lines)


def _read_layout(
    folder: Path, channels: Sequence[Channel], label_channel: str, known: Mapping[str, str]
) -> _Contents:
    if is_bids(folder):
        return _Contents("BIDS", *find_bids(folder, channels), {}, channels)
    tree = walk(folder, leave_out_folder(channels))
    for path in (folder, *tree.folders):
        if (path / "imagesTr").is_dir():
            hint = f"give {path / 'imagesTr'} instead"
            raise UserError(path, "an nnU-Net dataset", "a folder of scans", hint)
    images, ignored = _images(tree)
    numbered = _numbered(folder, images, channels, known)
    if numbered is not None:
        scans, rejected, requested = numbered
        return _Contents("nnU-Net", scans, [*ignored, *rejected], {}, requested)
    named, rejected = named_scans(tree, images, channels)
    ignored += rejected
    dicom: list[FoundScan] = []
    broken: dict[str, ScanError] = {}
    with_dicom = contains_dicom(tree)
    if with_dicom or not images:
        dicom, rejected, broken = find_dicom(folder, channels, with_dicom if images else ())
        if dicom or broken:
            ignored = [item for item in ignored if item[1] != NOT_AN_IMAGE] + rejected
    notes: list[str] = []
    if any(s.modality for s in named) or any(s.modality for s in dicom):
        named = [s if s.modality else replace(s, modality=UNKNOWN) for s in named]
    elif named and accepts_unnamed(channels):
        shown = Channel(label_channel).displayed
        notes.append(
            f"no name says a modality: all {len(named)} are taken as {shown} "
            f"(--channels {label_channel}=ENDING or a pattern chooses)"
        )
    found, without_case = found_scans(named, folder, channels, label_channel)
    ignored += without_case
    if dicom:
        found, beside = _beside_dicom(found, dicom, folder)
        ignored += beside
        if found:
            notes.append(f"{len(dicom)} DICOM series and {len(found)} files: both are used")
    used = {tree.root, *(image.path for image in images), *with_dicom}
    if images or not dicom:
        ignored += [(path, "no scan in this folder") for path in tree.empty_folders(used)]
    layout = _layout(named, found, bool(dicom or broken))
    return _Contents(layout, [*found, *dicom], ignored, broken, channels, tuple(notes))


def _images(tree: FileTree) -> tuple[list[TreeFile], Ignored]:
    """Files with the extension of an image, and everything else."""
    paths, ignored = scans_among(file.path for file in tree.files)
    chosen = set(paths)
    images = [file for file in tree.files if file.path in chosen]
    return images, [*tree.ignored, *ignored]


def _numbered(
    folder: Path, images: Sequence[TreeFile], channels: Sequence[Channel], known: Mapping[str, str]
) -> tuple[list[FoundScan], Ignored, Sequence[Channel]] | None:
    """Scans with nnU-Net's numbers; None if the files are not named so."""
    if not images or any(image.folders for image in images):
        return None
    paths, masks = without_masks([image.path for image in images])
    numbered = numbered_scans(folder, paths, channels, known) if paths else None
    return None if numbered is None else (numbered[0], masks, numbered[1])


def _beside_dicom(
    found: Sequence[FoundScan], dicom: Sequence[FoundScan], folder: Path
) -> tuple[list[FoundScan], Ignored]:
    """Files in a folder of DICOM series belong to its case, if it has one study."""
    studies: dict[Path, set[str]] = {}
    for scan in dicom:
        if isinstance(scan.source, Series):
            studies.setdefault(scan.source.folder, set()).add(scan.case)
    kept: list[FoundScan] = []
    ignored: Ignored = []
    for scan in found:
        inside = isinstance(scan.source, Path) and scan.source.relative_to(folder).parts
        cases = studies.get(folder / inside[0], set()) if inside else set()
        if len(cases) > 1:
            ignored.append((scan.source, "a file among DICOM series of several studies"))
        elif cases:
            kept.append(replace(scan, case=next(iter(cases))))
        else:
            kept.append(scan)
    return kept, ignored


def _layout(named: Sequence[NamedScan], found: Sequence[FoundScan], dicom: bool) -> str:
    if dicom:
        return "NIfTI and DICOM" if found else "DICOM"
    depths = {len(scan.folders) for scan in named}
    if depths <= {0}:
        return "flat"
    return "BraTS-like" if depths == {1} else "nested"


def _not_requested(scan: FoundScan, channels: Sequence[Channel]) -> str:
    if scan.modality == UNKNOWN:
        return NO_MODALITY
    if scan.modality.startswith(NOT_NAMED):
        return "not the one that --channels names"
    source = "description" if isinstance(scan.source, Series) else "name"
    return f"not {' or '.join(channel.displayed for channel in channels)}, by its {source}"


def _identified_by(layout: str, channel: Channel, single: bool) -> str:
    if layout == "nnU-Net":
        return f"_{channel.given}"
    if layout == "DICOM":
        also = ", or the only series if its kind is unknown" if single else ""
        return f"series described as {channel.given or channel.name}{also}"
    if any(char in channel.given for char in "*?["):
        return f"files named {channel.given}"
    if channel.given:
        return f"files named ..._{channel.given}"
    return f"files with {channel.name} in their name"
