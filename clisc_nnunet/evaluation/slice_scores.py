"""Classification scores of slice labels."""

from __future__ import annotations

import numpy as np


def slice_scores(probability: np.ndarray, label: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """AUC and accuracies of a classification of slices.

    Parameters
    ----------
    probability : float ndarray of shape (n,)
        Probability of class tumour.
    label : bool ndarray of shape (n,)
        Slices classified as tumour.
    truth : bool ndarray of shape (n,)
        Slices that show a tumour.

    Returns
    -------
    dict
        `auc`, `accuracy`, `balanced_accuracy`. All are NaN without slices; `auc` and
        `balanced_accuracy` also if `truth` has one class only.
    """
    # Imported here because it is slow, and not needed to score masks.
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    both = 0 < truth.sum() < len(truth)
    return {
        "auc": float(roc_auc_score(truth, probability)) if both else float("nan"),
        "accuracy": float((label == truth).mean()) if len(truth) else float("nan"),
        "balanced_accuracy": float(balanced_accuracy_score(truth, label)) if both else float("nan"),
    }
