"""Folders of DICOM files: assign series to cases and modalities."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from clisc_nnunet.errors import ScanError
from clisc_nnunet.inputs.cases import FoundScan
from clisc_nnunet.inputs.channels import Channel, modality_of_series
from clisc_nnunet.inputs.file_names import SCAN_ENDINGS, Ignored, visible
from clisc_nnunet.inputs.file_tree import FileTree
from clisc_nnunet.inputs.name_words import OTHER, derivative_word
from clisc_nnunet.io.dicom_series import FoundSeries, Series, find_series, is_dicom
from clisc_nnunet.io.paths import itk_name

# Files of one folder whose content is looked at to see whether they are DICOM.
_LOOKED_AT = 3
_NEVER_DICOM = (
    *SCAN_ENDINGS,
    *(".json", ".txt", ".csv", ".tsv", ".xlsx", ".bval", ".bvec", ".html", ".pdf", ".png", ".jpg"),
    *(".zip", ".gz", ".tif", ".md", ".raw", ".img", ".hdr", ".mat", ".xml", ".log", ".py"),
)


def contains_dicom(tree: FileTree) -> set[Path]:
    """Entries of the input folder in which DICOM files are found, by a look at a few of each."""
    seen: Counter[Path] = Counter()
    found: set[Path] = set()
    for file in tree.files:
        top = tree.root / file.folders[0] if file.folders else tree.root
        parent = file.path.parent
        if top in found or file.path.name.lower().endswith(_NEVER_DICOM):
            continue
        if seen[parent] < _LOOKED_AT and is_dicom(file.path):
            found.add(top)
        seen[parent] += 1
    return found


def find_dicom(
    folder: Path, channels: Sequence[Channel], only: Collection[Path] = ()
) -> tuple[list[FoundScan], Ignored, dict[str, ScanError]]:
    """Series in the subfolders of a folder; every study is a case.

    Parameters
    ----------
    folder : Path
    channels : sequence of Channel
    only : collection of Path
        Subfolders to search, and `folder` itself for files in it; empty to search all.

    Returns
    -------
    found : list of FoundScan
        Cases are named after their folder, with `_study1`, `_study2` in chronological order if
        it contains several studies; files in `folder` itself are named by the patient ID.
    ignored : list of (Path, str)
        Skipped files and folders with the reason.
    faults : dict of case to ScanError
        Cases with an unreadable slice, of any series.
    """
    found: list[FoundScan] = []
    ignored: Ignored = []
    faults: dict[str, ScanError] = {}
    folders = [path for path in visible(folder) if path.is_dir()]
    for subfolder in [path for path in folders if not only or path in only]:
        inside = find_series(subfolder, skip=SCAN_ENDINGS)
        if not inside.series and not inside.broken:
            ignored.append((subfolder, "no DICOM series in this folder"))
        names = _study_names(subfolder.name, inside.series)
        found += [_found(names[series.study], series, channels) for series in inside.series]
        for path in inside.broken[:1]:
            for case in names.values() or [subfolder.name]:
                faults[case] = _unreadable(path)
    loose = FoundSeries((), ())
    if not only or folder in only:
        loose = find_series(folder, deep=False, skip=SCAN_ENDINGS)
    for series in loose.series:
        name = re.sub(r"[^\w.-]+", "_", series.patient) or "case"
        studies = [s for s in loose.series if s.patient == series.patient]
        found.append(_found(_study_names(name, studies)[series.study], series, channels))
    ignored += [(path, "a DICOM slice that cannot be read") for path in loose.broken]
    return found, ignored, faults


def _found(case: str, series: Series, channels: Sequence[Channel]) -> FoundScan:
    modality = modality_of_series(series.description, channels)
    named = modality in {channel.name for channel in channels if channel.given}
    if not named and derivative_word(series.description, targets=False):
        modality = OTHER
    return FoundScan(case, modality, series, series.description)


def _study_names(name: str, series: Sequence[Series]) -> dict[str, str]:
    """Case name for each study UID."""
    studies = list(dict.fromkeys(s.study for s in sorted(series, key=lambda s: (s.when, s.study))))
    if len(studies) == 1:
        return {studies[0]: name}
    return {study: f"{name}_study{number}" for number, study in enumerate(studies, 1)}


def _unreadable(path: Path) -> ScanError:
    try:
        itk_name(path)
    except ScanError as error:
        return error
    return ScanError(
        path, "a DICOM slice that cannot be read", "a complete file", "copy the series again"
    )
