"""nnU-Net's channel numbers in file names: `CASE_0000.nii.gz`, `CASE_0001.nii.gz`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from clisc_nnunet.errors import UserError
from clisc_nnunet.inputs.cases import FoundScan
from clisc_nnunet.inputs.channels import Channel, nnunet_numbers
from clisc_nnunet.inputs.file_names import stem

_CHANNEL = re.compile(r"(?P<case>.+)_(?P<number>\d{4})$")


def numbered_scans(
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
        content = json.loads(text)
        # nnU-Net v1 and the Medical Segmentation Decathlon say `modality`.
        return nnunet_numbers(content.get("channel_names") or content["modality"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
