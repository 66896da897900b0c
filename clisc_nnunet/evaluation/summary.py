"""Scores of many cases in a few figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clisc_nnunet.evaluation.bootstrap import mean_interval
from clisc_nnunet.evaluation.case_scores import COUNTS, MEASURES, CaseScores


@dataclass(frozen=True)
class Summary:
    """A measure over the cases where it is defined.

    Parameters
    ----------
    measure : str
    cases : int
        For which it is defined.
    undefined : int
        For which it is NaN: they are in none of the figures.
    mean, low, high : float
        Mean and its 95 % confidence interval.
    sd, median, smallest, largest : float
    """

    measure: str
    cases: int
    undefined: int
    mean: float
    low: float
    high: float
    sd: float
    median: float
    smallest: float
    largest: float


@dataclass(frozen=True)
class Empty:
    """Names of the cases with an empty mask: both, the prediction alone, the reference alone."""

    both: tuple[str, ...]
    prediction: tuple[str, ...]
    reference: tuple[str, ...]

    @property
    def one_sided(self) -> int:
        """Number of cases that have a Dice of 0, but no distance."""
        return len(self.prediction) + len(self.reference)


def summarise(scores: Sequence[CaseScores], seed: int) -> list[Summary]:
    """Sum up each of `MEASURES`."""
    return [_summary(name, np.array([getattr(s, name) for s in scores]), seed) for name in MEASURES]


def sums(scores: Sequence[CaseScores]) -> dict[str, int]:
    """Sum of each of `COUNTS` over the cases."""
    return {name: sum(getattr(s, name) for s in scores) for name in COUNTS}


def empty_cases(scores: Sequence[CaseScores]) -> Empty:
    """Which cases have an empty mask."""

    def where(predicted: bool, true: bool) -> tuple[str, ...]:
        return tuple(
            s.case
            for s in scores
            if (s.predicted_ml > 0) == predicted and (s.reference_ml > 0) == true
        )

    return Empty(where(False, False), where(False, True), where(True, False))


def by_dice(scores: Sequence[CaseScores]) -> list[CaseScores]:
    """Worst first; cases without a Dice, as both masks are empty, last."""
    return sorted(scores, key=lambda s: (np.isnan(s.dice), s.dice, s.case))


def representative_cases(scores: Sequence[CaseScores]) -> dict[str, CaseScores]:
    """The best, the median and the worst case by Dice, each case once."""
    ranked = [s for s in by_dice(scores) if not np.isnan(s.dice)]
    if not ranked:
        return {}
    # Of an even number the lower middle: the median case must not look better than the median.
    places = {len(ranked) - 1: "best", (len(ranked) - 1) // 2: "median", 0: "worst"}
    return {name: ranked[place] for place, name in sorted(places.items(), reverse=True)}


def _summary(name: str, values: np.ndarray, seed: int) -> Summary:
    defined = values[~np.isnan(values)]
    low, high = mean_interval(defined, seed)
    figures = [float("nan")] * 5
    if len(defined):
        sd = defined.std(ddof=1) if len(defined) > 1 else np.nan
        figures = [
            float(f) for f in (defined.mean(), sd, np.median(defined), defined.min(), defined.max())
        ]
    mean, sd, median, smallest, largest = figures
    return Summary(
        name,
        len(defined),
        len(values) - len(defined),
        mean,
        low,
        high,
        sd,
        median,
        smallest,
        largest,
    )
