"""Summary statistics of the scores of many cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clisc_nnunet.evaluation.bootstrap import mean_interval
from clisc_nnunet.evaluation.case_scores import COUNTS, MEASURES, CaseScores


@dataclass(frozen=True)
class Summary:
    """Statistics of a measure over the cases where it is defined.

    Parameters
    ----------
    measure : str
        One of `MEASURES`.
    cases : int
        Number of cases where it is defined.
    undefined : int
        Number of cases where it is NaN; they are excluded from all statistics.
    mean, low, high : float
        Mean and its 95 % confidence interval.
    sd : float
        Sample standard deviation.
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
    """Cases with empty masks: in both, in the prediction only, in the reference only."""

    both: tuple[str, ...]
    prediction: tuple[str, ...]
    reference: tuple[str, ...]

    @property
    def one_sided(self) -> int:
        """Number of cases with a Dice of 0 and undefined distances."""
        return len(self.prediction) + len(self.reference)


def summarise(scores: Sequence[CaseScores], seed: int) -> list[Summary]:
    """Summarise each of `MEASURES`."""
    return [_summary(name, np.array([getattr(s, name) for s in scores]), seed) for name in MEASURES]


def sums(scores: Sequence[CaseScores]) -> dict[str, int]:
    """Sum of each of `COUNTS` over the cases."""
    return {name: sum(getattr(s, name) for s in scores) for name in COUNTS}


def empty_cases(scores: Sequence[CaseScores]) -> Empty:
    """Find the cases with an empty mask."""

    def where(predicted: bool, true: bool) -> tuple[str, ...]:
        return tuple(
            s.case
            for s in scores
            if (s.predicted_ml > 0) == predicted and (s.reference_ml > 0) == true
        )

    return Empty(where(False, False), where(False, True), where(True, False))


def by_dice(scores: Sequence[CaseScores]) -> list[CaseScores]:
    """Sorted from worst to best; cases with undefined Dice (both masks empty) come last."""
    return sorted(scores, key=lambda s: (np.isnan(s.dice), s.dice, s.case))


def representative_cases(scores: Sequence[CaseScores]) -> dict[str, CaseScores]:
    """The worst, the median and the best case by Dice, without duplicates."""
    ranked = [s for s in by_dice(scores) if not np.isnan(s.dice)]
    if not ranked:
        return {}
    # Lower median for even counts, so that the case shown is not better than the median.
    places = {len(ranked) - 1: "best", (len(ranked) - 1) // 2: "median", 0: "worst"}
    return {name: ranked[place] for place, name in sorted(places.items(), reverse=True)}


def _summary(name: str, values: np.ndarray, seed: int) -> Summary:
    defined = values[~np.isnan(values)]
    low, high = mean_interval(defined, seed)
    statistics = [float("nan")] * 5
    if len(defined):
        sd = defined.std(ddof=1) if len(defined) > 1 else np.nan
        statistics = [
            float(f) for f in (defined.mean(), sd, np.median(defined), defined.min(), defined.max())
        ]
    mean, sd, median, smallest, largest = statistics
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
