"""Folders of DICOM files: assign series to cases and modalities."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from clisc_nnunet.errors import ScanError
from clisc_nnunet.inputs.cases import FoundScan
from clisc_nnunet.inputs.channels import Channel, modality_of_series
from clisc_nnunet.inputs.file_names import Ignored, scan_ending, visible
from clisc_nnunet.io.dicom_series import Series, find_series
from clisc_nnunet.io.paths import itk_name

# Series found in many studies that do not show brain contrast: never used as a modality just
# because there is no other series.
_NO_MODALITY = re.compile(
    r"(?<![a-z])loc(?![a-z])|locali[sz]er|scout|survey|(?<![a-z])(tof|mra)(?![a-z])|angio|segment",
    re.I,
)


def find_dicom(
    folder: Path, channels: Sequence[Channel]
) -> tuple[list[FoundScan], Ignored, dict[str, ScanError]]:
    """Series in the subfolders of a folder; every study is a case.

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
    for subfolder in folders:
        inside = find_series(subfolder)
        if not inside.series and not inside.broken:
            ignored.append((subfolder, "no DICOM series in this folder"))
        names = _study_names(subfolder.name, inside.series)
        found += [_found(names[series.study], series, channels) for series in inside.series]
        for path in inside.broken[:1]:
            for case in names.values() or [subfolder.name]:
                faults[case] = _unreadable(path)
    loose = find_series(folder, deep=False)
    for series in loose.series:
        name = re.sub(r"[^\w.-]+", "_", series.patient) or "case"
        studies = [s for s in loose.series if s.patient == series.patient]
        found.append(_found(_study_names(name, studies)[series.study], series, channels))
    ignored += [(path, "a DICOM slice that cannot be read") for path in loose.broken]
    series_found = [scan.source for scan in found if isinstance(scan.source, Series)]
    slices = {path for series in series_found for path in series.files}
    ignored += [
        (path, "not DICOM, in a folder of DICOM series")
        for path in sorted(folder.rglob("*"))
        if scan_ending(path) and path.is_file() and path not in slices
    ]
    return found, ignored, faults


def _found(case: str, series: Series, channels: Sequence[Channel]) -> FoundScan:
    modality = modality_of_series(series.description, channels)
    if not modality and _NO_MODALITY.search(series.description):
        modality = "other"
    return FoundScan(case, modality, series)


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
