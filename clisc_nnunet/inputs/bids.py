"""BIDS folders: `sub-*/[ses-*/]anat/*_FLAIR.nii.gz`; derivatives are ignored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from clisc_nnunet.inputs.cases import FoundScan
from clisc_nnunet.inputs.channels import Channel, split_ending
from clisc_nnunet.inputs.file_names import Ignored, scans_among, stem, visible

_CONTRAST_AGENT = re.compile(r"_ce-[^_]+(?=_)", re.I)


def is_bids(folder: Path) -> bool:
    """Whether a folder contains subjects with an `anat` folder."""
    return any(_anat_folders(subject) for subject in folder.glob("sub-*"))


def find_bids(folder: Path, channels: Sequence[Channel]) -> tuple[list[FoundScan], Ignored]:
    """Scans of all sessions; a case is named `sub-01` or, with sessions, `sub-01_ses-02`.

    Several runs of one modality in a session are kept as several scans of the case. Their names do
    not say which one to use, so the case is skipped unless an option such as
    `--channels flair=run-2_FLAIR` selects one.
    """
    found: list[FoundScan] = []
    ignored: Ignored = []
    for subject in visible(folder):
        anats = _anat_folders(subject) if subject.name.startswith("sub-") else []
        if not anats:
            ignored.append((subject, "not a BIDS subject with anat"))
        ignored += [(path, "not the anat folder of a BIDS subject") for path in _siblings(anats)]
        for anat in anats:
            case = "_".join(anat.relative_to(folder).parts[:-1])
            scans, rejected = scans_among(visible(anat))
            ignored += rejected
            found += [FoundScan(case, _modality(stem(path), channels), path) for path in scans]
    return found, ignored


def _anat_folders(subject: Path) -> list[Path]:
    anats = (*subject.glob("anat"), *subject.glob("ses-*/anat"))
    return sorted(path for path in anats if path.is_dir())


def _siblings(anats: Sequence[Path]) -> list[Path]:
    """Siblings of the `anat` folders of one subject, in its own folder and in its sessions."""
    parents = {anat.parent for anat in anats}
    subjects = {path.parent if path.name.startswith("ses-") else path for path in parents}
    entries = [path for parent in sorted(parents | subjects) for path in visible(parent)]
    return [path for path in entries if path not in anats and path not in parents]


def _modality(name: str, channels: Sequence[Channel]) -> str:
    modality = split_ending(name, channels)[1]
    given = {channel.name for channel in channels if channel.given}
    if modality == "t1" and not given & {"t1", "t1ce"} and _CONTRAST_AGENT.search(name):
        return "t1ce"
    return modality or "unknown"
