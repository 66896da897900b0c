"""Find the cases of an input folder; its layout, one of five, is detected.

Files named like a segmentation are never used as scans, and never opened.
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
_EXPECTED = (
    f"CASE/CASE_flair.nii.gz, CASE_0000.nii.gz or CASE.nii.gz (or {', '.join(SCAN_ENDINGS[1:])}), "
    "BIDS, or DICOM series"
)

# At most this many skipped files are listed per reason.
_LISTED = 3


@dataclass(frozen=True)
class InputFolder:
    """The cases of an input folder.

    Parameters
    ----------
    layout : str
        `BraTS-like`, `nnU-Net`, `BIDS`, `DICOM` or `flat`.
    cases : tuple of Case
        Sorted by name.
    ignored : tuple of (Path or Series, str)
        Skipped files, folders and series, each with the reason.
    faults : tuple of (str, ScanError)
        Unusable cases with their errors, sorted by name.
    channels : tuple of str
        One line per channel: number, name, and how its files were identified.
    """

    layout: str
    cases: tuple[Case, ...]
    ignored: tuple[tuple[Source, str], ...]
    faults: tuple[tuple[str, ScanError], ...] = ()
    channels: tuple[str, ...] = ()


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
        In one of five layouts: `CASE/CASE_flair.nii.gz` (BraTS-like), `CASE_0000.nii.gz`
        (nnU-Net), `sub-*/[ses-*/]anat/*_FLAIR.nii.gz` (BIDS), `CASE/.../` with DICOM files of any
        name, `CASE.nii.gz` or `CASE_flair.nii.gz` (flat); any extension of `SCAN_ENDINGS`.
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
        If there is no scan, no usable case, more than one layout, or ambiguous channels.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise UserError(folder, found, "a folder of scans", "check the path")
    entries = visible(folder)
    if not entries:
        raise UserError(folder, "an empty folder", _EXPECTED, "check the path")
    layout, scans, ignored, broken, requested = _read_layout(
        folder, entries, channels, numbers or {}
    )
    scans = assign_label_channel(scans, requested, label_channel)
    wanted = {channel.name for channel in requested}
    unnamed = () if layout == "DICOM" else ("",)
    others = [scan.source for scan in scans if scan.modality not in (*wanted, *unnamed)]
    ignored += [(source, _not_requested(requested, layout)) for source in others]
    cases, faults = group(scans, requested, label_channel, folder)
    faults.update(broken)
    cases = [case for case in cases if case.name not in broken]
    if not cases:
        raise _nothing_found(folder, scans, ignored, faults, label_channel)
    single = accepts_unnamed(requested)
    lines = [
        f"channel {n}: {c.name} ({_identified_by(layout, c, single)})"
        for n, c in enumerate(requested)
    ]
    return InputFolder(
        layout, tuple(cases), tuple(ignored), tuple(sorted(faults.items())), tuple(lines)
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
    if label_channel != FLAIR:
        lines.append(
            f"  note: pseudo-labels from {label_channel}; the bundled models know FLAIR only"
        )
    by_reason = sorted(found.ignored, key=lambda item: (item[1], str(item[0])))
    for reason, items in groupby(by_reason, key=lambda item: item[1]):
        paths = [path for path, _ in items]
        lines += [f"  ignored: {one_line(path)} ({reason})" for path in paths[:_LISTED]]
        if paths[_LISTED:]:
            lines.append(f"  ignored: {len(paths) - _LISTED} more ({reason})")
    lines += [f"  skipped: {fault}" for _, fault in found.faults]
    return "\n".join(lines)


_Contents = tuple[str, list[FoundScan], Ignored, dict[str, ScanError], Sequence[Channel]]


def _read_layout(
    folder: Path,
    entries: Sequence[Path],
    channels: Sequence[Channel],
    known: Mapping[str, str],
) -> _Contents:
    if is_bids(folder):
        return "BIDS", *find_bids(folder, channels), {}, channels
    if (folder / "imagesTr").is_dir():
        hint = f"give {folder / 'imagesTr'} instead"
        raise UserError(folder, "an nnU-Net dataset", "a folder of scans", hint)
    nested, nested_ignored = _nested([path for path in entries if path.is_dir()], channels)
    scans, ignored = scans_among([path for path in entries if not path.is_dir()])
    if nested and scans:
        raise UserError(
            folder,
            f"{len({f.case for f in nested})} case folders next to {len(scans)} scans",
            "one layout",
            "move either elsewhere",
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
    """Scans of one folder per case; modalities come from file name suffixes."""
    found: list[FoundScan] = []
    ignored: Ignored = []
    for folder in folders:
        scans, rejected = scans_among(visible(folder))
        ignored += rejected
        if not scans:
            ignored.append((folder, "no scan in this folder"))
        # In a case folder, the file name must contain the modality.
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
    """Scans with nnU-Net's channel numbers and the channels these denote; None for case numbers.

    `phantom_0000`, `phantom_0001` may be two cases or two channels of one case. They are channels
    if several cases have the same set of numbers, if a single case has exactly the known numbers,
    or if several channels are requested.
    """
    matches = [_CHANNEL.fullmatch(stem(path)) for path in scans]
    numbers: dict[str, set[str]] = {}
    for match in matches:
        if match is None:
            return None
        numbers.setdefault(match["case"], set()).add(match["number"])
    used = sorted(set().union(*numbers.values()))
    is_known = set(used) == set(known.values())
    several = len(numbers) > 1 or is_known
    consistent = several and all(own == set(used) for own in numbers.values())
    if used != ["0000"] and not consistent and len(channels) == 1 and not channels[0].given:
        return None
    requested = _meaning(folder, used, channels, known if is_known else {})
    names = {channel.given: channel.name for channel in requested}
    found = [
        FoundScan(match["case"], names.get(match["number"], "other"), path)
        for match, path in zip(matches, scans, strict=True)
        if match is not None
    ]
    return found, requested


def _meaning(
    folder: Path, used: list[str], channels: Sequence[Channel], known: Mapping[str, str]
) -> Sequence[Channel]:
    """Channels with their numbers: given, from dataset.json, known, or in the requested order."""
    if all(channel.given for channel in channels):
        return channels
    by_name = {**known, **_numbers_of_dataset_json(folder)}
    if all(channel.given or channel.name in by_name for channel in channels):
        return [replace(c, given=c.given or by_name[c.name]) for c in channels]
    if len(used) != len(channels):
        raise UserError(
            folder,
            f"{len(used)} channels per case ({', '.join(used)})",
            f"{len(channels)}, as requested ({', '.join(c.name for c in channels)})",
            f"give the numbers, such as --channels {channels[0].name}=0003, or all names in order",
        )
    return [replace(c, given=c.given or n) for c, n in zip(channels, used, strict=True)]


def _numbers_of_dataset_json(folder: Path) -> dict[str, str]:
    """Numbers by modality from the dataset.json of an nnU-Net dataset, if there is one."""
    try:
        text = (folder.parent / "dataset.json").read_text(encoding="utf-8")
        return nnunet_numbers(json.loads(text)["channel_names"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _not_requested(channels: Sequence[Channel], layout: str) -> str:
    source = "description" if layout == "DICOM" else "name"
    return f"not {' or '.join(channel.displayed for channel in channels)}, by its {source}"


def _identified_by(layout: str, channel: Channel, single: bool) -> str:
    if layout == "nnU-Net":
        return f"_{channel.given}"
    if layout == "DICOM":
        also = ", or the only series if its kind is unknown" if single else ""
        return f"series described as {channel.given or channel.name}{also}"
    also = " or without a modality" if layout == "flat" and single else ""
    return f"files named ..._{channel.given or channel.name}{also}"


def _nothing_found(
    folder: Path,
    found: Sequence[FoundScan],
    ignored: Ignored,
    faults: dict[str, ScanError],
    label_channel: str,
) -> UserError:
    if found and not any(f.modality in (label_channel, "") for f in found):
        shown = Channel(label_channel).displayed
        return UserError(
            folder,
            f"no {shown} among {len(found)} scans",
            f"scans named ..._{label_channel}",
            f"rename the {shown} scans, or give their suffix: --channels {label_channel}=ENDING",
        )
    if faults:
        return next(iter(faults.values()))
    return UserError(
        folder,
        f"no scan among {len(ignored)} files and folders",
        _EXPECTED,
        "check the path and the names",
    )
