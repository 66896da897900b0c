"""Table cells that compare variants of a benchmark by case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.compare import Difference
from clisc_nnunet.evaluation.bootstrap import mean_interval
from clisc_nnunet.evaluation.tables import shown


def mean_over_seeds(results: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Score by case, averaged over seeds; at least one, all with the same cases."""
    return {case: float(np.mean([r[case] for r in results])) for case in results[0]}


def mean_cell(measure: str, scores: Mapping[str, float]) -> str:
    """Mean over the cases with its 95 % interval, and the number of undefined scores, if any.

    Parameters
    ----------
    measure : str
        Determines the number of decimals; see `evaluation.tables.shown`.
    scores : mapping of case to float
        NaN if undefined.
    """
    values = np.array(list(scores.values()), float)
    defined = values[np.isfinite(values)]
    if not len(defined):
        return "–"
    text = shown(measure, float(defined.mean()))
    if len(defined) > 1:
        low, high = (shown(measure, bound) for bound in mean_interval(defined, seed=0))
        text += f" ({low} to {high})"
    undefined = len(values) - len(defined)
    return f"{text}; {undefined} undefined" if undefined else text


def difference_cells(measure: str, found: Difference) -> dict[str, str]:
    """Mean difference, its 95 % interval, and the worst case; empty without cases."""
    if not found.cases:
        return {"difference": "", "95 % interval": "", "worst case": ""}
    mean, low, high, worst = (
        _signed(measure, value) for value in (found.mean, found.low, found.high, found.worst)
    )
    return {
        "difference": mean,
        "95 % interval": f"{low} to {high}" if found.cases > 1 else "",
        "worst case": f"{worst} ({found.worst_case})",
    }


def _signed(measure: str, value: float) -> str:
    text = shown(measure, value)
    return text if text.startswith("-") else f"+{text}"
