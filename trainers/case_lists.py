"""User-maintained lists of a dataset: trusted cases and excluded cases."""

from __future__ import annotations

import csv
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from clisc_nnunet.dataset_layout import EXCLUDE_FILE, TRUSTED_FILE, read_names
from clisc_nnunet.errors import UserError


@dataclass(frozen=True)
class CaseLists:
    """Names of trusted and of excluded cases.

    Parameters
    ----------
    trusted : frozenset of str
        Cases that are never rejected, and whose labels are never replaced.
    excluded : frozenset of str
        Cases that are never trained on.
    """

    trusted: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()


def read_case_lists(
    folder: Path, cases: Collection[str], phantoms: Collection[str] = ()
) -> CaseLists:
    """Read the lists of a dataset, each of which may be missing.

    Parameters
    ----------
    folder : Path
        The `clisc` folder of the raw dataset.
    cases : collection of str
        Names of all cases of the dataset. Other cases are ignored if they are in `cases.csv`,
        i.e. if the conversion gave them no label.
    phantoms : collection of str
        Those of them that are no scans.

    Raises
    ------
    UserError
        If a list contains an unknown case, or a case is in both lists.
    """
    lists = CaseLists(
        _read(folder / TRUSTED_FILE, cases),
        _read(folder / EXCLUDE_FILE, cases),
    )
    both = sorted(lists.trusted & lists.excluded)
    if both:
        raise UserError(
            folder / EXCLUDE_FILE,
            f"{both[0]}, which is also in {TRUSTED_FILE}",
            "each case in at most one list",
            "remove it from one of them",
        )
    if lists.excluded and not set(cases) - lists.excluded.union(phantoms):
        raise UserError(
            folder / EXCLUDE_FILE, "all cases", "at least one case left to train on", "shorten it"
        )
    return lists


def _read(path: Path, cases: Collection[str]) -> frozenset[str]:
    names = read_names(path)
    unknown = [name for name in names if name not in cases]
    if unknown:
        unknown = sorted(set(unknown) - _cases_in_table(path.with_name("cases.csv")))
    if unknown:
        raise UserError(path, repr(unknown[0]), "names of cases of this dataset", "fix the line")
    return frozenset(name for name in names if name in cases)


def _cases_in_table(table: Path) -> set[str]:
    """Cases in the conversion's table, including those without a label; empty without table."""
    if not table.is_file():
        return set()
    with table.open(encoding="utf-8", newline="") as file:
        return {row["case"] for row in csv.DictReader(file)}
