"""Which scans lie in a folder: five layouts, told apart by themselves.

None that is named like a segmentation is ever taken as a scan, nor opened.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from clisc_nnunet.errors import ScanError, UserError, one_line
from clisc_nnunet.inputs.bids import find_bids, is_bids
from clisc_nnunet.inputs.cases import (
    Case,
    FoundScan,
    accepts_unnamed,
    assign_label_channel,
    group,
)
from clisc_nnunet.inputs.channels import (
    FLAIR,
    Channel,
    chosen_channels,
    nnunet_numbers,
    split_ending,
)
from clisc_nnunet.inputs.dicom_folders import find_dicom
from clisc_nnunet.inputs.file_names import (
    SCAN_ENDINGS,
    Ignored,
    scan_ending,
    scans_among,
    stem,
    visible,
)
from clisc_nnunet.io.volume import Source

__all__ = [
    "SCAN_ENDINGS",
    "Case",
    "InputFolder",
    "find_cases",
    "find_label_channel_scans",
    "scan_ending",
]

_CHANNEL = re.compile(r"(?P<case>.+)_(?P<number>\d{4})$")
_LOOKED_FOR = (
    f"CASE/CASE_flair.nii.gz, CASE_0000.nii.gz or CASE.nii.gz (or {', '.join(SCAN_ENDINGS[1:])}), "
    "BIDS, or DICOM series"
)


@dataclass(frozen=True)
class InputFolder:
    """What a folder of scans holds.

    Parameters
    ----------
    layout : str
        `BraTS-like`, `nnU-Net`, `BIDS`, `DICOM` or `flat`.
    cases : tuple of Case
        Sorted by name.
    ignored : tuple of (Path or Series, str)
        Files, folders and series that were left out, each with the reason.
    faults : tuple of (str, ScanError)
        Cases that are set aside, each with what is wrong with it; sorted by name.
    channels : tuple of str
        A line for each channel: its number, its name, and how its files were known.
    """

    layout: str
    cases: tuple[Case, ...]
    ignored: tuple[tuple[Source, str], ...]
    faults: tuple[tuple[str, ScanError], ...] = ()
    channels: tuple[str, ...] = ()


def find_cases(
    folder: Path,
    channels: Sequence[Channel] = (Channel(FLAIR),),
    prompt: str = FLAIR,
    numbers: Mapping[str, str] | None = None,
) -> InputFolder:
    """List the cases of a folder.

    Parameters
    ----------
    folder : Path
        In one of five layouts: `CASE/CASE_flair.nii.gz` (BraTS-like), `CASE_0000.nii.gz`
        (nnU-Net), `sub-*/[ses-*/]anat/*_FLAIR.nii.gz` (BIDS), `CASE/.../` with DICOM files of any
        name, `CASE.nii.gz` or `CASE_flair.nii.gz` (flat); any ending of `SCAN_ENDINGS`.
    channels : sequence of Channel
        Modalities that become nnU-Net's channels, in this order.
    prompt : str
        Name of the one from which pseudo-labels come.
    numbers : mapping of str to str, optional
        What nnU-Net's numbers mean, if the folder has just these: all of them by modality, such as
        `0003`. A dataset.json beside the folder goes above it.

    Returns
    -------
    InputFolder

    Raises
    ------
    UserError
        If there is no scan, no usable case, more than one layout, or channels of unknown meaning.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise UserError(folder, found, "a folder of scans", "check the path")
    entries = visible(folder)
    if not entries:
        raise UserError(folder, "an empty folder", _LOOKED_FOR, "check the path")
    layout, scans, ignored, broken, asked = _look(folder, entries, channels, numbers or {})
    scans = assign_label_channel(scans, asked, prompt)
    wanted = {channel.name for channel in asked}
    unnamed = () if layout == "DICOM" else ("",)
    others = [scan.source for scan in scans if scan.modality not in (*wanted, *unnamed)]
    ignored += [(source, _not_asked(asked, layout)) for source in others]
    cases, faults = group(scans, asked, prompt, folder)
    faults.update(broken)
    cases = [case for case in cases if case.name not in broken]
    if not cases:
        raise _nothing_found(folder, scans, ignored, faults, prompt)
    alone = accepts_unnamed(asked)
    lines = [f"channel {n}: {c.name} ({_known_by(layout, c, alone)})" for n, c in enumerate(asked)]
    return InputFolder(
        layout, tuple(cases), tuple(ignored), tuple(sorted(faults.items())), tuple(lines)
    )


def find_label_channel_scans(
    folder: Path, words: Sequence[str], prompt: str, numbers: Mapping[str, str] | None = None
) -> dict[str, Source]:
    """Scans of the prompt channel by case, for commands that look at no other.

    Parameters
    ----------
    folder : Path
    words : sequence of str
        Channels as a user gives them; see `chosen_channels`.
    prompt : str
    numbers : mapping of str to str, optional
        See `find_cases`, which tells what is raised, too.
    """
    found = find_cases(folder, chosen_channels(words, prompt), prompt, numbers)
    return {case.name: case.image for case in found.cases}


_Look = tuple[str, list[FoundScan], Ignored, dict[str, ScanError], Sequence[Channel]]


def _look(
    folder: Path,
    entries: Sequence[Path],
    channels: Sequence[Channel],
    known: Mapping[str, str],
) -> _Look:
    if is_bids(folder):
        return "BIDS", *find_bids(folder, channels), {}, channels
    if (folder / "imagesTr").is_dir():
        hint = f"give {folder / 'imagesTr'} instead"
        raise UserError(folder, "a whole nnU-Net dataset", "a folder of scans", hint)
    nested, nested_ignored = _nested([path for path in entries if path.is_dir()], channels)
    scans, ignored = scans_among([path for path in entries if not path.is_dir()])
    if nested and scans:
        raise UserError(
            folder,
            f"{len({f.case for f in nested})} case folders and {len(scans)} scans beside them",
            "one layout",
            "move one of the two elsewhere",
        )
    if nested:
        return "BraTS-like", nested, [*nested_ignored, *ignored], {}, channels
    if scans:
        numbered = _numbered(folder, scans, channels, known)
        if numbered is not None:
            return "nnU-Net", numbered[0], [*nested_ignored, *ignored], {}, numbered[1]
        flat = [FoundScan(*split_ending(stem(path), channels), path) for path in scans]
        return "flat", flat, [*nested_ignored, *ignored], {}, channels
    series, series_ignored, broken = find_dicom(folder, channels)
    if series or broken:
        return "DICOM", series, series_ignored, broken, channels
    return "flat", [], [*nested_ignored, *ignored], {}, channels


def _nested(
    folders: Sequence[Path], channels: Sequence[Channel]
) -> tuple[list[FoundScan], Ignored]:
    """One folder per case; files are known by how they end."""
    found: list[FoundScan] = []
    ignored: Ignored = []
    for folder in folders:
        scans, rejected = scans_among(visible(folder))
        ignored += rejected
        if not scans:
            ignored.append((folder, "no scan in this folder"))
        # Within a case's folder, a file has to say what it is.
        found += [
            FoundScan(folder.name, split_ending(stem(path), channels)[1] or "unknown", path)
            for path in scans
        ]
    return found, ignored


def _numbered(
    folder: Path,
    scans: Sequence[Path],
    channels: Sequence[Channel],
    known: Mapping[str, str],
) -> tuple[list[FoundScan], Sequence[Channel]] | None:
    """Scans with nnU-Net's channel numbers, and what these stand for; None if they are names.

    `phantom_0000`, `phantom_0001` could be a series of cases or the channels of one. They are
    channels where several cases have the same set of numbers, where one case has just the known
    ones, or several channels are asked for.
    """
    matches = [_CHANNEL.fullmatch(stem(path)) for path in scans]
    numbers: dict[str, set[str]] = {}
    for match in matches:
        if match is None:
            return None
        numbers.setdefault(match["case"], set()).add(match["number"])
    used = sorted(set().union(*numbers.values()))
    told = set(used) == set(known.values())
    several = len(numbers) > 1 or told
    alike = several and all(their == set(used) for their in numbers.values())
    if used != ["0000"] and not alike and len(channels) == 1 and not channels[0].given:
        return None
    asked = _meaning(folder, used, channels, known if told else {})
    names = {channel.given: channel.name for channel in asked}
    found = [
        FoundScan(match["case"], names.get(match["number"], "other"), path)
        for match, path in zip(matches, scans, strict=True)
        if match is not None
    ]
    return found, asked


def _meaning(
    folder: Path, used: list[str], channels: Sequence[Channel], known: Mapping[str, str]
) -> Sequence[Channel]:
    """Each channel with its number: given, told by dataset.json, known, or as asked for."""
    if all(channel.given for channel in channels):
        return channels
    told = {**known, **_told_by_dataset_json(folder)}
    if all(channel.given or channel.name in told for channel in channels):
        return [replace(c, given=c.given or told[c.name]) for c in channels]
    if len(used) != len(channels):
        raise UserError(
            folder,
            f"{len(used)} channels of each case ({', '.join(used)})",
            f"{len(channels)}, as asked for ({', '.join(c.name for c in channels)})",
            f"tell their numbers, such as --channels {channels[0].name}=0003, or name all in order",
        )
    return [replace(c, given=c.given or n) for c, n in zip(channels, used, strict=True)]


def _told_by_dataset_json(folder: Path) -> dict[str, str]:
    """Numbers by modality from the dataset.json of an nnU-Net dataset, if there is one."""
    try:
        text = (folder.parent / "dataset.json").read_text(encoding="utf-8")
        return nnunet_numbers(json.loads(text)["channel_names"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _not_asked(channels: Sequence[Channel], layout: str) -> str:
    told_by = "description" if layout == "DICOM" else "name"
    return f"not {' or '.join(channel.displayed for channel in channels)}, by its {told_by}"


def _known_by(layout: str, channel: Channel, alone: bool) -> str:
    if layout == "nnU-Net":
        return f"_{channel.given}"
    if layout == "DICOM":
        also = ", or of unknown kind and the only one" if alone else ""
        return f"series described as {channel.given or channel.name}{also}"
    also = " or with no modality" if layout == "flat" and alone else ""
    return f"files named ..._{channel.given or channel.name}{also}"


def _nothing_found(
    folder: Path,
    found: Sequence[FoundScan],
    ignored: Ignored,
    faults: dict[str, ScanError],
    prompt: str,
) -> UserError:
    if found and not any(f.modality in (prompt, "") for f in found):
        shown = Channel(prompt).displayed
        return UserError(
            folder,
            f"no {shown} among {len(found)} scans",
            f"scans named ..._{prompt}",
            f"rename those that are {shown}, or name their ending: --channels {prompt}=ENDING",
        )
    if faults:
        return next(iter(faults.values()))
    return UserError(
        folder,
        f"no scan among {len(ignored)} files and folders",
        _LOOKED_FOR,
        "check the path and the names",
    )


# Files that are left out for one reason are listed up to this many.
_LISTED = 3


def describe(found: InputFolder, prompt: str = FLAIR) -> str:
    """What was found, for the screen."""
    lines = [f"{found.layout} folder of {len(found.cases)} cases"]
    lines += [f"  {line}" for line in found.channels]
    if prompt != FLAIR:
        lines.append(
            f"  note: pseudo-labels come from {prompt}; the bundled models know FLAIR alone"
        )
    by_reason = sorted(found.ignored, key=lambda item: (item[1], str(item[0])))
    for reason, items in groupby(by_reason, key=lambda item: item[1]):
        paths = [path for path, _ in items]
        lines += [f"  left out: {one_line(path)} ({reason})" for path in paths[:_LISTED]]
        if paths[_LISTED:]:
            lines.append(f"  left out: {len(paths) - _LISTED} more ({reason})")
    lines += [f"  set aside: {fault}" for _, fault in found.faults]
    return "\n".join(lines)
