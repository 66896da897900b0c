"""User-maintained lists of a dataset: trusted cases and excluded cases."""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
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
    remark : str
        For the log, if these are copies, which may be outdated.
    """

    trusted: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()
    remark: str = field(default="", compare=False)

    def to_learn(self, kept: Sequence[str], training_set: Collection[str]) -> list[str]:
        """Cases to train on after a round.

        The lists may have changed since: cases excluded now are left out, and cases trusted now
        come back.

        Parameters
        ----------
        kept : sequence of str
            Cases that the round kept; the result begins with them, in this order.
        training_set : collection of str
        """
        back = sorted(self.trusted & set(training_set) - set(kept))
        return [case for case in (*kept, *back) if case not in self.excluded]


def find_case_lists(
    folder: Path | None,
    copies: Path,
    cases: Collection[str],
    converted: bool,
    phantoms: Collection[str] = (),
) -> CaseLists:
    """Read the lists of the raw dataset or, where that is missing, their copies.

    Parameters
    ----------
    folder : Path, optional
        The `clisc` folder of the raw dataset, which may not exist on this machine.
    copies : Path
        The same folder of the preprocessed dataset.
    cases, phantoms : collection of str
        See `read_case_lists`.
    converted : bool
        Whether the converter made the dataset; otherwise there may be no lists at all.

    Raises
    ------
    UserError
        If neither exists, or a list is wrong.
    """
    raw = folder.parent if folder is not None else None
    if folder is not None and folder.parent.is_dir():
        return read_case_lists(folder, cases, phantoms)
    if converted and not copies.is_dir():
        raise UserError(
            raw or "nnUNet_raw",
            "no such folder" if raw else "a variable that is not set",
            f"the lists {TRUSTED_FILE} and {EXCLUDE_FILE} of this dataset",
            f"export nnUNet_raw, or copy its clisc/*.txt to {copies} (an empty folder if it has "
            "none)",
        )
    lists = read_case_lists(copies, cases, phantoms)
    times = [path.stat().st_mtime for path in copies.glob("*.txt")]
    age = f", last written {datetime.fromtimestamp(max(times)):%Y-%m-%d %H:%M}" if times else ""
    return replace(lists, remark=f" (by copies in {copies}{age})")


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
