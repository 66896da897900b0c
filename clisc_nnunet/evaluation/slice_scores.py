"""Scores of masks and of slice labels: pure functions on arrays."""

from __future__ import annotations

import numpy as np


def slice_scores(probability: np.ndarray, label: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """How well slices are told apart.

    Parameters
    ----------
    probability : float ndarray of shape (n,)
        Of class tumour.
    label : bool ndarray of shape (n,)
        Called tumour.
    truth : bool ndarray of shape (n,)

    Returns
    -------
    dict
        `auc`, `accuracy`, `balanced_accuracy`; NaN where there is nothing to compare: no slice
        at all, or for the first and the last a class that is missing from the truth.
    """
    # Slow to import, and the scores of masks do without.
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    both = 0 < truth.sum() < len(truth)
    return {
        "auc": float(roc_auc_score(truth, probability)) if both else float("nan"),
        "accuracy": float((label == truth).mean()) if len(truth) else float("nan"),
        "balanced_accuracy": float(balanced_accuracy_score(truth, label)) if both else float("nan"),
    }
