"""Paired comparison of two evaluations: `python -m benchmarks.compare A.json B.json`.

Differences are B minus A, over the cases where both are defined; the confidence interval of their
mean is a paired bootstrap. If it includes 0, the difference is not significant.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clisc_nnunet.errors import UserError, named
from clisc_nnunet.evaluation.bootstrap import mean_interval
from clisc_nnunet.evaluation.case_scores import MEASURES
from clisc_nnunet.evaluation.tables import markdown, shown

# Entries that must be equal for scores to be comparable.
SAME = ("labels", "tolerance_mm")
DEFAULT_MEASURES = ("dice", "hd95_mm", "surface_dice", "precision", "recall")


@dataclass(frozen=True)
class Difference:
    """Second minus first, over the cases where both are defined.

    Parameters
    ----------
    cases : int
        Number of these cases.
    first, second : float
        Means over these cases.
    mean, low, high : float
        Mean difference and its 95 % confidence interval; NaN without cases.
    worst_case : str
        Case with the largest deterioration; empty without cases.
    worst : float
        Difference of that case.
    """

    cases: int
    first: float
    second: float
    mean: float
    low: float
    high: float
    worst_case: str
    worst: float


def read_evaluation(path: Path) -> dict[str, Any]:
    """Content of an `evaluation.json`.

    Raises
    ------
    UserError
        If it cannot be read or is a different file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content["cases"], list):
            return content
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError):
        pass
    raise UserError(
        path, "no evaluation", "the evaluation.json that clisc_evaluate -o wrote", "check the path"
    )


def values(evaluation: Mapping[str, Any], measure: str) -> dict[str, float]:
    """A measure by case; NaN where it is undefined."""
    return {
        row["case"]: np.nan if row[measure] is None else float(row[measure])
        for row in evaluation["cases"]
    }


def paired(
    first: Mapping[str, float], second: Mapping[str, float], *, lower_is_better: bool, seed: int = 0
) -> Difference:
    """Paired comparison of two sets of scores."""
    shared = [c for c in sorted(first.keys() & second.keys()) if np.isfinite(first[c] + second[c])]
    if not shared:
        nothing = float("nan")
        return Difference(0, nothing, nothing, nothing, nothing, nothing, "", nothing)
    before, after = (np.array([scores[c] for c in shared]) for scores in (first, second))
    change = after - before
    worst = int(change.argmax() if lower_is_better else change.argmin())
    return Difference(
        len(shared),
        float(before.mean()),
        float(after.mean()),
        float(change.mean()),
        *mean_interval(change, seed),
        shared[worst],
        float(change[worst]),
    )


def lower_is_better(measure: str) -> bool:
    """Whether smaller values of a measure are better, i.e. whether it is a distance."""
    return measure.endswith("_mm")


def row(measure: str, found: Difference) -> dict[str, str]:
    """A row of the table."""
    return {
        "measure": measure,
        "cases": str(found.cases),
        "A": shown(measure, found.first),
        "B": shown(measure, found.second),
        "B - A": shown(measure, found.mean),
        "95 % interval": f"{shown(measure, found.low)} to {shown(measure, found.high)}",
        "worst case": f"{found.worst_case} ({shown(measure, found.worst)})",
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first", type=Path, metavar="A.json", help="from clisc_evaluate -o")
    parser.add_argument("second", type=Path, metavar="B.json")
    parser.add_argument("--measures", nargs="+", choices=MEASURES, default=DEFAULT_MEASURES)
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    arguments = parser.parse_args(argv)
    try:
        first, second = read_evaluation(arguments.first), read_evaluation(arguments.second)
        for key in SAME:
            if first.get(key) != second.get(key):
                raise UserError(
                    arguments.second,
                    f"{key} = {second.get(key)!r}",
                    f"{first.get(key)!r} as in {arguments.first}",
                    "evaluate both in the same way",
                )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    rows = []
    for measure in arguments.measures:
        found = paired(
            values(first, measure),
            values(second, measure),
            lower_is_better=lower_is_better(measure),
            seed=arguments.seed,
        )
        rows.append(row(measure, found))
    print(markdown(rows))
    names = [{r["case"] for r in evaluation["cases"]} for evaluation in (first, second)]
    for name, alone in (("A", names[0] - names[1]), ("B", names[1] - names[0])):
        if alone:
            print(f"\nOnly in {name}, not compared: {len(alone)} ({named(sorted(alone))}).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
