"""Labels that people hand back: corrected in labelsTr, or named in `clisc/trusted.txt`.

The converter never overwrites them, and no pixel of them is read here: a label is known as a
person's by its hash, and held against its scan by the header. Such a label is not drawn anew with
another scan, so one that took the place of the scan is told, or its case set aside.
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
from clisc_nnunet.pipeline.label_step import corrected, recorded_outcome, written_by_us
from clisc_nnunet.pipeline.result_cache import ResultCache


def handed_back(
    folder: Path, scans: Mapping[str, Source], cache: ResultCache
) -> tuple[dict[str, CaseOutcome], dict[str, ScanError]]:
    """Cases whose label is a person's.

    Parameters
    ----------
    folder : Path
        Of the dataset.
    scans : mapping of case to file
    store : Store
        Knows the hash of every label that a run has drawn, and of the scan it was drawn on.

    Returns
    -------
    outcomes : dict
        Of each such case that can go on.
    faults : dict
        What is wrong with the scans of the others: unreadable, or another one on another grid.

    Raises
    ------
    UserError
        If a corrected label cannot be read or does not lie on the grid of its scan, or nobody's
        hand can be told.
    """
    dataset = DatasetLayout(folder)
    if dataset.run_json.is_file() and not cache.cases_with("label.json"):
        raise UserError(
            folder,
            "a dataset of an earlier version, which kept no hashes of its labels",
            "one by which corrected labels can be told",
            "start a new one with another id",
        )
    read_names(dataset.exclude_txt)  # the report will want it: told now if it is no text
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
            exchanged = _is_another(case, scans[case], cache)
            placed = dataset.image(case)
            # The header of a file is read sooner than a DICOM series.
            image = placed if exchanged is False and placed.is_file() else scans[case]
            wanted = read_geometry(image)
            if not same_grid(geometry, wanted):
                raise _off_grid(label, geometry, scans[case], wanted, ours or bool(exchanged))
        except ScanError as error:
            faults[case] = error
            continue
        if exchanged:
            change = "another scan than in the run before; its label stays"
            print(f"warning: {case}: {one_line(scans[case])} is {change}")
        reason = f"label checked by a person ({TRUSTED_FILE})"
        found[case] = (
            replace(recorded_outcome(cache, case), status="trusted", reason=reason)
            if ours
            else corrected(case)
        )
    for case, outcome in found.items():
        print(f"{case}: {outcome.reason}; it is left as it is")
    return found, faults


def add_to_trusted(dataset: DatasetLayout, cases: Sequence[str]) -> None:
    """Name these cases in `trusted.txt`, unless it has them; its other lines stay."""
    path = dataset.trusted_txt
    new = sorted(set(cases) - read_names(path).keys())
    if new:
        before = path.read_text(encoding="utf-8-sig") if path.is_file() else ""
        before += "" if not before or before.endswith("\n") else "\n"
        lines = [f"{case}  # corrected in labelsTr\n" for case in new]
        write_text(path, before + "".join(lines))


def _is_another(case: str, scan: Source, cache: ResultCache) -> bool | None:
    """Whether a scan is another than its slices were cut from; None if nothing tells.

    Raises
    ------
    ScanError
        If it cannot be read.
    """
    kept = cache.as_kept(case, "slices")
    return None if kept is None else scan_digest(scan) != kept[1].get("inputs")


def _off_grid(
    label: Path, ours: Geometry, scan: Source, wanted: Geometry, scan_is_wrong: bool
) -> UserError:
    """A person's label and its scan on different grids: the scan's fault, or the label's."""
    if scan_is_wrong:
        return ScanError(
            scan,
            f"{grid_text(wanted)}, another scan than the label of a person was made for",
            f"the grid of {label}: {grid_text(ours)}",
            "put the old scan back, or remove the label to have it drawn anew",
        )
    return UserError(
        label,
        f"a corrected label of {grid_text(ours)}",
        f"the grid of its scan: {grid_text(wanted)}",
        "save it again on the scan's grid, or remove it to have it drawn anew",
    )
