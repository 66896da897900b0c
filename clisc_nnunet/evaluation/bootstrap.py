"""Confidence intervals of means over cases, by percentile bootstrap."""

from __future__ import annotations

import numpy as np
from scipy.stats import bootstrap

DRAWS, LEVEL = 10_000, 0.95


def mean_interval(
    values: np.ndarray, seed: int, draws: int = DRAWS, level: float = LEVEL
) -> tuple[float, float]:
    """Confidence interval of a mean, by resampling the cases with replacement.

    Parameters
    ----------
    values : float ndarray of shape (n,)
        One value per case, without NaN; for a paired comparison, the differences.
    seed : int
    draws : int
        Number of bootstrap resamples.
    level : float
        Confidence level, 0 to 1.

    Returns
    -------
    low, high : float
        NaN for fewer than two values.
    """
    if len(values) < 2:
        return float("nan"), float("nan")
    found = bootstrap(
        (np.asarray(values, float),),
        np.mean,
        n_resamples=draws,
        batch=1000,
        confidence_level=level,
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)
