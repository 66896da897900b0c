"""Lists that people keep beside a dataset: cases they have checked, cases to leave out."""

from __future__ import annotations

import csv
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from clisc_nnunet.dataset_layout import EXCLUDE_FILE, TRUSTED_FILE, read_names
from clisc_nnunet.errors import UserError


@dataclass(frozen=True)
class CaseLists:
    """Cases by name.

    Parameters
    ----------
    trusted : frozenset of str
        Never rejected, their labels never replaced.
    excluded : frozenset of str
        Never learnt from.
    """

    trusted: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()


def read_case_lists(folder: Path, cases: Collection[str]) -> CaseLists:
    """Lists of a dataset, each of which may be absent.

    Parameters
    ----------
    folder : Path
        The `clisc` folder of the raw dataset.
    cases : collection of str
        Names of all cases of the dataset. A name of another case that `cases.csv` tells of, which
        had no label this time, is passed over.

    Raises
    ------
    UserError
        If a list names a case that is not there, or one case is in both.
    """
    lists = CaseLists(
        _read(folder / TRUSTED_FILE, cases),
        _read(folder / EXCLUDE_FILE, cases),
    )
    both = sorted(lists.trusted & lists.excluded)
    if both:
        raise UserError(
            folder / EXCLUDE_FILE,
            f"{both[0]}, which {TRUSTED_FILE} has too",
            "each case in one list at most",
            "take it out of one of them",
        )
    if lists.excluded and not set(cases) - lists.excluded:
        raise UserError(folder / EXCLUDE_FILE, "all cases", "some left to learn from", "shorten it")
    return lists


def _read(path: Path, cases: Collection[str]) -> frozenset[str]:
    names = read_names(path)
    unknown = [name for name in names if name not in cases]
    if unknown:
        unknown = sorted(set(unknown) - _told_of(path.with_name("cases.csv")))
    if unknown:
        raise UserError(path, repr(unknown[0]), "names of cases of this dataset", "mend the line")
    return frozenset(name for name in names if name in cases)


def _told_of(table: Path) -> set[str]:
    """Cases of the conversion's table, also those that got no label; none without the table."""
    if not table.is_file():
        return set()
    with table.open(encoding="utf-8", newline="") as file:
        return {row["case"] for row in csv.DictReader(file)}
