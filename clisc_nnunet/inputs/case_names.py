"""Name cases by the folders and names of their scans: short, unique, and independent of order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from clisc_nnunet.inputs.cases import UNKNOWN, FoundScan
from clisc_nnunet.inputs.channels import Channel, split_ending
from clisc_nnunet.inputs.file_names import Ignored
from clisc_nnunet.inputs.name_words import (
    OTHER,
    WORD,
    identity_words,
    is_time,
    modality_of_word,
    preference,
    split_words,
    time_words,
)
from clisc_nnunet.inputs.scan_names import NamedScan

NO_MODALITY = (
    "its name says no modality, those of others do; --channels NAME=ENDING or a pattern takes it"
)
# Words of acquisitions that are more likely a patient's initials if nothing else says the case.
_INITIALS = ("cs", "fat", "fs", "hr", "ir", "lr", "mm", "o", "sat", "se", "w", "xx")


def found_scans(
    scans: Sequence[NamedScan], root: Path, channels: Sequence[Channel], label_channel: str
) -> tuple[list[FoundScan], Ignored]:
    """Assign scans to cases; those that belong to none with the reason.

    A case is named after its folders; those that only sort files (`NIFTI`, `orig`, `4_FLAIR`) do
    not count. If a folder contains scans of the label channel of several times, each is a case.
    Where no folder says the case, file names do.
    """
    by_folder = groupby(sorted(scans, key=_folders), key=_folders)
    cases: dict[tuple[str, ...], list[NamedScan]] = {}
    found: list[FoundScan] = []
    ignored: Ignored = []
    for folders, group in by_folder:
        inside = list(group)
        if folders:
            for time, scan in _by_time(inside, folders[-1], label_channel):
                parts = (*folders[:-1], time) if time.startswith(folders[-1]) else (*folders, time)
                cases.setdefault(tuple(filter(None, parts)), []).append(scan)
        else:
            found, ignored = _by_file_name(inside, root, channels, label_channel)
    cases = _without_subfolders(cases, label_channel)
    names = unique_names(list(cases), taken={scan.case for scan in found})
    for parts, members in cases.items():
        found += [
            FoundScan(names[parts], scan.modality, scan.path, scan.variant) for scan in members
        ]
    return found, ignored


def _without_subfolders(
    cases: dict[tuple[str, ...], list[NamedScan]], label_channel: str
) -> dict[tuple[str, ...], list[NamedScan]]:
    """Cases, where folders without the label channel join a case that lies above them."""
    own = {p for p, scans in cases.items() if any(s.modality == label_channel for s in scans)}
    joined: dict[tuple[str, ...], list[NamedScan]] = {}
    for parts, scans in cases.items():
        above = [parts[:depth] for depth in range(len(parts) - 1, 0, -1)]
        home = parts if parts in own else next((path for path in above if path in own), parts)
        joined.setdefault(home, []).extend(scans)
    return joined


def unique_names(
    cases: Sequence[tuple[str, ...]], taken: set[str] | frozenset[str] = frozenset()
) -> dict[tuple[str, ...], str]:
    """Shortest unique names of cases.

    Parameters
    ----------
    cases : sequence of tuple of str
        Names of folders that identify each case, the outermost first.
    taken : set of str
        Names of other cases.

    Returns
    -------
    dict
        The last folder's name if that is unique, otherwise joined with those above it by `_`. A
        folder that only says a time (`week-044`, `2`) is always joined with the one above it.
    """
    longest = max(map(len, cases), default=0)
    names: dict[tuple[str, ...], str] = {}
    for depth in range(1, longest + 1):
        names = {parts: _joined(parts, depth) for parts in cases}
        values = list(names.values())
        if len(set(values)) == len(values) and not taken & set(values):
            return names
    plain = {parts: "_".join(parts) for parts in cases}
    return names if len(set(names.values())) == len(names) else plain


def _joined(parts: tuple[str, ...], depth: int) -> str:
    depth = min(depth, len(parts))
    while depth < len(parts) and is_time(parts[-depth]):
        depth += 1
    name = parts[-1]
    for above in reversed(parts[-depth:-1]):
        if not name.lower().startswith(above.lower()):
            name = f"{above}_{name}"
    return name


def _folders(scan: NamedScan) -> tuple[str, ...]:
    return scan.case_folders


def _by_time(
    scans: Sequence[NamedScan], folder: str, label_channel: str
) -> list[tuple[str, NamedScan]]:
    """Each scan of a folder with the name of its time; empty if there is only one."""
    label = [scan for scan in scans if scan.modality == label_channel]
    alone = all(_leading_words(scan) for scan in label)
    times = {scan.path: _time(scan, alone) for scan in scans}
    if len({times[scan.path] for scan in label}) < 2:
        return [("", scan) for scan in scans]
    names: dict[tuple[str, ...], str] = {}
    for scan in label:
        name = _name_of_time(scan, times[scan.path], folder)
        if not names.get(times[scan.path], "").startswith(folder):
            names[times[scan.path]] = name
    return [(names.get(times[scan.path], "_".join(times[scan.path])), scan) for scan in scans]


def _time(scan: NamedScan, leading: bool) -> tuple[str, ...]:
    """Words that say the time of a scan; with `leading`, all that precede its modality."""
    words = identity_words(_without_series_number(scan.own))
    chosen = time_words(words)
    return (*_leading_words(scan), *chosen) if leading else chosen


def _leading_words(scan: NamedScan) -> tuple[str, ...]:
    """Words without digits before the modality that are not known: perhaps a patient's name."""
    words = split_words(scan.own)
    end = next((n for n, word in enumerate(words) if modality_of_word(word)), 0)
    return tuple(word for word in identity_words(" ".join(words[:end])) if not time_words((word,)))


def _without_series_number(text: str) -> str:
    """A name without the short number that follows the modality at its end, as of dcm2niix."""
    match = re.search(r"[-_. ]\d{1,4}[a-z]?$", text)
    if match and any(modality_of_word(word) for word in split_words(text[: match.start()])):
        before = split_words(text[: match.start()])
        if not is_time(before[-1]) or before[-1].isdigit() or modality_of_word(before[-1]):
            return text[: match.start()]
    return text


def _name_of_time(scan: NamedScan, time: tuple[str, ...], folder: str) -> str:
    case, modality = split_ending(scan.stem, ())
    if modality and case.lower().startswith(folder.lower()) and len(case) > len(folder):
        return case
    return "_".join(_spelt_as_in(scan.stem, time)) or folder


def _spelt_as_in(text: str, words: Sequence[str]) -> list[str]:
    spelling = {word.lower(): word for word in WORD.findall(text)}
    return [spelling.get(word, word) for word in words]


def _by_file_name(
    scans: Sequence[NamedScan], root: Path, channels: Sequence[Channel], label_channel: str
) -> tuple[list[FoundScan], Ignored]:
    """Scans of the folder itself, or of folders that do not say the case."""
    found: list[FoundScan] = []
    ignored: Ignored = []
    by_key: dict[tuple[str, ...], list[NamedScan]] = {}
    for scan in scans:
        if not scan.modality:
            found.append(FoundScan(scan.stem, "", scan.path, scan.variant))
        elif scan.modality == UNKNOWN:
            ignored.append((scan.path, NO_MODALITY))
        else:
            by_key.setdefault(_key(scan), []).append(scan)
    for key, members in _joined_by_number(by_key, label_channel).items():
        if all(scan.modality == OTHER for scan in members):
            ignored += [(scan.path, "another sequence, by its name") for scan in members]
            continue
        label = sorted(
            (scan for scan in members if scan.modality == label_channel),
            key=lambda scan: preference(scan.variant),
        )
        tie = len(label) > 1 and preference(label[0].variant) == preference(label[1].variant)
        first = (label or members)[0]
        name = "_".join(_spelt_as_in(first.stem, key)) if tie else _file_case(first, channels)
        name = name or root.absolute().name
        found += [FoundScan(name, scan.modality, scan.path, scan.variant) for scan in members]
    return found, ignored


def _joined_by_number(
    by_key: dict[tuple[str, ...], list[NamedScan]], label_channel: str
) -> dict[tuple[str, ...], list[NamedScan]]:
    """One case of all scans if only the numbers at their ends differ and no modality is repeated.

    So are the files of `VSD.Brain.MR_Flair.54512`, `VSD.Brain.MR_T1.54513`.
    """
    scans = [scan for members in by_key.values() for scan in members]
    modalities = [scan.modality for scan in scans if scan.modality != OTHER]
    keys = {identity_words(re.sub(r"[-_. ]\d+$", "", scan.own)) for scan in scans}
    if len(keys) > 1 or label_channel not in modalities or len(set(modalities)) < len(modalities):
        return by_key
    return {next(iter(keys)): scans}


def _key(scan: NamedScan) -> tuple[str, ...]:
    """Words of a file name that say the case."""
    words = identity_words(scan.own)
    if any(re.fullmatch(r"\d{12,14}", word) for word in words) and re.fullmatch(
        r"\d{1,4}[a-z]?", words[-1]
    ):
        words = words[:-1]  # the series number of dcm2niix
    return words or tuple(word for word in split_words(scan.own) if word in _INITIALS)


def _file_case(scan: NamedScan, channels: Sequence[Channel]) -> str:
    """Case name from a file name: what precedes the modality at its end."""
    if not scan.stem.endswith(scan.own):  # T1 or T2 in it is a time
        words = split_words(scan.own)
        tail = len(words) - next(n for n, word in enumerate(words) if modality_of_word(word))
        return scan.stem[: list(WORD.finditer(scan.stem))[-tail].start()].rstrip("-_. ")
    case, modality = split_ending(scan.stem, channels)
    if modality or len(channels) == 1:
        return case
    return "_".join(_spelt_as_in(scan.stem, _key(scan))) or case
