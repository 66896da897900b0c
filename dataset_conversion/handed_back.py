"""Labels that people hand back: corrected in labelsTr, or named in `clisc/trusted.txt`.

The converter never overwrites them, and no pixel of them is read here: a label is known as a
person's by its hash, and held against its scan by the header.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from clisc_nnunet.dataset_conversion.nnunet_dataset import CLISC_FOLDER, FILE_ENDING
from clisc_nnunet.errors import UserError
from clisc_nnunet.labelwork import corrected, recorded_outcome, written_by_us
from clisc_nnunet.name_lists import EXCLUDE_FILE, TRUSTED_FILE, read_names
from clisc_nnunet.outcome import CaseOutcome
from clisc_nnunet.store import Store, write_text
from clisc_nnunet.volume import Source, read_geometry, same_grid


def handed_back(folder: Path, scans: Mapping[str, Source], store: Store) -> dict[str, CaseOutcome]:
    """Cases whose label is a person's.

    Parameters
    ----------
    folder : Path
        Of the dataset.
    scans : mapping of case to file
    store : Store
        Knows the hash of every label that a run has drawn.

    Returns
    -------
    dict
        Outcome of each such case.

    Raises
    ------
    UserError
        If a corrected label does not lie on the grid of its scan, or nobody's hand can be told.
    """
    clisc = folder / CLISC_FOLDER
    if (clisc / "run.json").is_file() and not store.cases_with("label.json"):
        raise UserError(
            folder,
            "a dataset of an earlier version, which kept no hashes of its labels",
            "one by which corrected labels can be told",
            "start a new one with another id",
        )
    read_names(clisc / EXCLUDE_FILE)  # the report will want it: told now if it is no text
    trusted, found = read_names(clisc / TRUSTED_FILE), {}
    for case in sorted(scans):
        label = folder / "labelsTr" / f"{case}{FILE_ENDING}"
        if not label.is_file():
            continue
        if not written_by_us(store, case, label):
            _check_grid(label, scans[case], folder / "imagesTr" / f"{case}_0000{FILE_ENDING}")
            found[case] = corrected(case)
        elif case in trusted:
            reason = f"label checked by a person ({TRUSTED_FILE})"
            found[case] = replace(recorded_outcome(store, case), status="trusted", reason=reason)
    for case, outcome in found.items():
        print(f"{case}: {outcome.reason}; it is left as it is")
    return found


def add_to_trusted(clisc: Path, cases: Sequence[str]) -> None:
    """Name these cases in `trusted.txt`, unless it has them; its other lines stay."""
    path = clisc / TRUSTED_FILE
    new = sorted(set(cases) - read_names(path).keys())
    if new:
        before = path.read_text(encoding="utf-8-sig") if path.is_file() else ""
        before += "" if not before or before.endswith("\n") else "\n"
        lines = [f"{case}  # corrected in labelsTr\n" for case in new]
        write_text(path, before + "".join(lines))


def _check_grid(label: Path, scan: Source, placed: Path) -> None:
    """Hold the headers of a corrected label and its image against each other."""
    image = placed if placed.is_file() else scan
    ours, wanted = read_geometry(label), read_geometry(image)
    if not same_grid(ours, wanted):
        raise UserError(
            label,
            f"a corrected label of {ours.size} voxels of {ours.spacing} mm at {ours.origin}",
            f"the grid of its scan: {wanted.size} voxels of {wanted.spacing} mm at {wanted.origin}",
            "save it again on the scan's grid, or remove it to have it drawn anew",
        )
