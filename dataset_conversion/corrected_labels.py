"""Labels edited by a person in labelsTr, or listed in `clisc/trusted.txt` as checked.

An edited label is recognised by its hash and never drawn over. It is read once, to check it and to
put it on the grid of its scan if necessary; no other label depends on it. It is not redrawn if the
scan is replaced, so a replaced scan is reported, or its case skipped.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from clisc_nnunet.dataset_conversion.label_files import agreed_label, label_files
from clisc_nnunet.dataset_conversion.label_replacement import (
    is_rewritten,
    move_away,
    replace_label,
)
from clisc_nnunet.dataset_layout import TRUSTED_FILE, DatasetLayout, read_names
from clisc_nnunet.errors import ScanError, UserError, one_line
from clisc_nnunet.io.atomic_write import write_text
from clisc_nnunet.io.volume import (
    Geometry,
    Source,
    grid_text,
    read_geometry,
    same_grid,
    scan_digest,
)
from clisc_nnunet.io.voxel_alignment import find_alignment
from clisc_nnunet.pipeline.case_result import CaseOutcome
from clisc_nnunet.pipeline.label_placement import (
    corrected_outcome,
    record_is_lost,
    recorded_outcome,
    unknown_label,
    written_by_us,
)
from clisc_nnunet.pipeline.result_cache import ResultCache


def find_trusted(
    folder: Path, scans: Mapping[str, Source], cache: ResultCache
) -> tuple[dict[str, CaseOutcome], dict[str, ScanError]]:
    """Find the cases whose label was edited or checked by a person.

    Labels that were saved in another format, orientation or extent, or with one other value than
    1, are written again; see `replace_label`.

    Parameters
    ----------
    folder : Path
        Dataset.
    cache : ResultCache
        Contains the hashes of every label that a run has written, and of its scan.

    Returns
    -------
    outcomes : dict
        Outcomes of these cases: `trusted`, or `failed` if the label cannot be used. The label of
        either is left to the person.
    faults : dict
        Those whose scan is unreadable, or was replaced by one with another grid.

    Raises
    ------
    UserError
        If manual edits cannot be detected (dataset of an earlier version).
    """
    dataset = DatasetLayout(folder)
    if dataset.run_json.is_file() and not cache.cases_with("label.json"):
        raise UserError(
            folder,
            "a dataset of an earlier version, without hashes of its labels",
            "a dataset in which corrected labels can be detected",
            "create a new one with another id",
        )
    read_names(dataset.exclude_txt)  # needed by the report later: unreadable lists are reported now
    trusted = read_names(dataset.trusted_txt)
    files = label_files(dataset.labels)
    found: dict[str, CaseOutcome] = {}
    faults: dict[str, ScanError] = {}
    for case in sorted(scans.keys() & files.keys()):
        paths = files[case]
        edited = edited_files(dataset, cache, case, paths)
        if not edited and case not in trusted:
            continue
        try:
            replaced = _is_replaced(case, scans[case], cache)
            placed = dataset.image(case)
            # Reading the header of a file is faster than reading a DICOM series.
            image = placed if replaced is False and placed.is_file() else scans[case]
            wanted = read_geometry(image)
            if not edited or replaced:
                _check_scan(paths[0], scans[case], wanted, turned=bool(edited))
        except ScanError as error:
            faults[case] = error
            continue
        if replaced:
            change = "has changed since the last run; its label is kept"
            print(f"warning: {case}: {one_line(scans[case])} {change}")
        if not edited:
            reason = f"label checked by a person ({TRUSTED_FILE})"
            found[case] = replace(recorded_outcome(cache, case), status="trusted", reason=reason)
            print(f"{case}: {reason}; left unchanged")
            continue
        try:
            if case not in trusted:
                check_author(dataset, cache, case, edited)
            notes = _take(dataset, case, edited, wanted)
            found[case] = corrected_outcome(case)
            print(f"{case}: {found[case].reason}; {'; '.join(notes) or 'left unchanged'}")
        except ScanError as error:
            found[case] = CaseOutcome(case, "failed", str(error))
            print(f"skipped: {error}", file=sys.stderr)
    return found, faults


def edited_files(
    dataset: DatasetLayout, cache: ResultCache, case: str, paths: Sequence[Path]
) -> list[Path]:
    """Files of a case in labelsTr that a person has saved, unless superseded by files beside them.

    Parameters
    ----------
    paths : sequence of Path
        As `label_files` returns them.
    """
    label = dataset.label(case)
    others = [path for path in paths if path != label]
    if label not in paths or written_by_us(cache, case, label):
        return others
    return others if others and is_rewritten(dataset, case) else list(paths)


def _take(
    dataset: DatasetLayout, case: str, edited: Sequence[Path], grid: Geometry
) -> tuple[str, ...]:
    """Check a corrected label, and write it again if nnU-Net cannot use it; returns what was done.

    Raises
    ------
    ScanError
        If it cannot be used.
    """
    label = dataset.label(case)
    if list(edited) == [label] and is_rewritten(dataset, case):
        return ()
    saved = agreed_label(edited, grid)
    notes = saved.notes
    if not saved.usable_as_is:
        replace_label(dataset, case, saved.mask, grid)
        source = one_line(saved.path.name)
        notes = (*notes, f"written again from {source}, which is kept in clisc/replaced_labels")
    for path in edited:
        if path != label:
            move_away(dataset, path)
    return notes


def add_to_trusted(dataset: DatasetLayout, cases: Sequence[str]) -> None:
    """Append these cases to `trusted.txt`, unless it lists them already."""
    path = dataset.trusted_txt
    new = sorted(set(cases) - read_names(path).keys())
    if new:
        before = path.read_text(encoding="utf-8-sig") if path.is_file() else ""
        before += "" if not before or before.endswith("\n") else "\n"
        lines = [f"{case}  # corrected in labelsTr\n" for case in new]
        write_text(path, before + "".join(lines))


def _is_replaced(case: str, scan: Source, cache: ResultCache) -> bool | None:
    """Whether a scan differs from the one its slices were extracted from; None if unknown.

    Raises
    ------
    ScanError
        If it cannot be read.
    """
    kept = cache.load_any(case, "slices")
    return None if kept is None else scan_digest(scan) != kept[1].get("inputs")


def check_author(
    dataset: DatasetLayout, cache: ResultCache, case: str, edited: Sequence[Path]
) -> None:
    """Check that a label of a case that is not listed as trusted was saved by a person.

    Parameters
    ----------
    edited : sequence of Path
        See `edited_files`.

    Raises
    ------
    ScanError
        If it may be ours, because the record of our labels is lost.
    """
    label = dataset.label(case)
    if list(edited) == [label] and record_is_lost(cache, case) and not is_rewritten(dataset, case):
        raise unknown_label(cache, case, label)


def _check_scan(label: Path, scan: Source, wanted: Geometry, *, turned: bool) -> None:
    """Check that the scan of a label is still on its grid or, if `turned`, has its voxels.

    Raises
    ------
    ScanError
        If it is not: the scan was replaced.
    """
    geometry = read_geometry(label)
    fits = find_alignment(geometry, wanted) if turned else same_grid(geometry, wanted)
    if not fits:
        raise ScanError(
            scan,
            f"{grid_text(wanted)}, not the scan that the corrected label was made for",
            f"the grid of {label}: {grid_text(geometry)}",
            "restore the old scan, or remove the label to have it redrawn",
        )
