"""How sure a mean over cases is: the percentile bootstrap."""

from __future__ import annotations

import numpy as np
from scipy.stats import bootstrap

DRAWS, LEVEL = 10_000, 0.95


def mean_interval(
    values: np.ndarray, seed: int, draws: int = DRAWS, level: float = LEVEL
) -> tuple[float, float]:
    """Confidence interval of a mean, by drawing the cases anew, with replacement.

    Parameters
    ----------
    values : float ndarray of shape (n,)
        One per case, without NaN; for a paired comparison, the differences.
    seed, draws : int
    level : float

    Returns
    -------
    low, high : float
        NaN for less than two values, of which nothing can be said.
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
