"""BIDS folders: `sub-*/[ses-*/]anat/*_FLAIR.nii.gz`; derivatives are ignored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from clisc_nnunet.inputs.cases import UNKNOWN, FoundScan
from clisc_nnunet.inputs.channels import Channel
from clisc_nnunet.inputs.file_names import Ignored, scans_among, stem, visible
from clisc_nnunet.inputs.given_names import files_given
from clisc_nnunet.inputs.name_words import derivative_word, modality_of, split_words
from clisc_nnunet.inputs.scan_names import NOT_NAMED, SEGMENTATION


def is_bids(folder: Path) -> bool:
    """Whether a folder contains subjects with an `anat` folder."""
    return any(_anat_folders(subject) for subject in folder.glob("sub-*"))


def find_bids(folder: Path, channels: Sequence[Channel]) -> tuple[list[FoundScan], Ignored]:
    """Scans of all sessions; a case is named `sub-01` or, with sessions, `sub-01_ses-02`.

    Several scans of one modality in a session are kept as several scans of the case. Of several
    runs, names do not say which one to use, so the case is skipped unless an option such as
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
            images, rejected = scans_among(visible(anat))
            scans, masks = _without_masks(images, channels)
            ignored += [*rejected, *masks]
            given = _given_modalities(folder, scans, channels)
            found += [
                FoundScan(
                    _with_session(case, path),
                    given.get(path) or _modality(path, channels),
                    path,
                    stem(path),
                )
                for path in scans
            ]
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


def _without_masks(
    images: Sequence[Path], channels: Sequence[Channel]
) -> tuple[list[Path], Ignored]:
    given = [channel.given for channel in channels if channel.given]
    allowed = {word for text in given for word in split_words(text)}
    masks = [path for path in images if derivative_word(_own_part(path), allowed)]
    return [path for path in images if path not in masks], [(path, SEGMENTATION) for path in masks]


def _own_part(path: Path) -> str:
    """File name without subject and session, whose labels may be any words."""
    return re.sub(r"(^|_)(sub|ses)-[^_]*", "", stem(path))


def _with_session(case: str, path: Path) -> str:
    """The case, with the session if only the file name has it."""
    session = re.search(r"_(ses-[^_]+)", path.name)
    return f"{case}_{session[1]}" if session and "_ses-" not in case else case


def _given_modalities(
    folder: Path, scans: Sequence[Path], channels: Sequence[Channel]
) -> dict[Path, str]:
    """Modalities of the files of one `anat` folder that options name, the best matches of each."""
    found: dict[Path, str] = {}
    for channel in (channel for channel in channels if channel.given):
        for path in files_given(channel.given, folder, scans):
            found.setdefault(path, channel.name)
    return found


def _modality(path: Path, channels: Sequence[Channel]) -> str:
    given = {channel.name for channel in channels if channel.given}
    modality = modality_of(_own_part(path), {channel.name for channel in channels} - given)
    return f"{NOT_NAMED} {modality}" if modality in given else modality or UNKNOWN
