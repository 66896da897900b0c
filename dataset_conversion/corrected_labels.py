"""Labels edited by a person in labelsTr, or listed in `clisc/trusted.txt` as checked.

The converter never overwrites them and reads none of their voxels: an edited label is recognised by
its hash, and compared with its scan by the header. It is not redrawn if the scan is replaced, so a
replaced scan is reported, or its case skipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

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
from clisc_nnunet.pipeline.case_result import CaseOutcome
from clisc_nnunet.pipeline.label_placement import corrected_outcome, recorded_outcome, written_by_us
from clisc_nnunet.pipeline.result_cache import ResultCache


def find_trusted(
    folder: Path, scans: Mapping[str, Source], cache: ResultCache
) -> tuple[dict[str, CaseOutcome], dict[str, ScanError]]:
    """Find the cases whose label was edited or checked by a person.

    Parameters
    ----------
    folder : Path
        Dataset.
    cache : ResultCache
        Contains the hashes of every label that a run has written, and of its scan.

    Returns
    -------
    outcomes : dict
        Outcomes of these cases.
    faults : dict
        Those whose scan is unreadable, or was replaced by one with another grid.

    Raises
    ------
    UserError
        If a corrected label cannot be read or differs from its scan in the grid, or if manual edits
        cannot be detected (dataset of an earlier version).
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
    found: dict[str, CaseOutcome] = {}
    faults: dict[str, ScanError] = {}
    for case in sorted(scans):
        label = dataset.label(case)
        if not label.is_file():
            continue
        ours = written_by_us(cache, case, label)
        if ours and case not in trusted:
            continue
        geometry = read_geometry(label)
        try:
            replaced = _is_replaced(case, scans[case], cache)
            placed = dataset.image(case)
            # Reading the header of a file is faster than reading a DICOM series.
            image = placed if replaced is False and placed.is_file() else scans[case]
            wanted = read_geometry(image)
            if not same_grid(geometry, wanted):
                raise _off_grid(label, geometry, scans[case], wanted, ours or bool(replaced))
        except ScanError as error:
            faults[case] = error
            continue
        if replaced:
            change = "has changed since the last run; its label is kept"
            print(f"warning: {case}: {one_line(scans[case])} {change}")
        reason = f"label checked by a person ({TRUSTED_FILE})"
        found[case] = (
            replace(recorded_outcome(cache, case), status="trusted", reason=reason)
            if ours
            else corrected_outcome(case)
        )
    for case, outcome in found.items():
        print(f"{case}: {outcome.reason}; left unchanged")
    return found, faults


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


def _off_grid(
    label: Path, ours: Geometry, scan: Source, wanted: Geometry, scan_is_wrong: bool
) -> UserError:
    """Error for a label and a scan on different grids, blaming the scan or the label."""
    if scan_is_wrong:
        return ScanError(
            scan,
            f"{grid_text(wanted)}, not the scan that the corrected label was made for",
            f"the grid of {label}: {grid_text(ours)}",
            "restore the old scan, or remove the label to have it redrawn",
        )
    return UserError(
        label,
        f"a corrected label of {grid_text(ours)}",
        f"the grid of its scan: {grid_text(wanted)}",
        "save it on the grid of the scan, or remove it to have it redrawn",
    )
