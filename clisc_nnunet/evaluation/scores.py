"""Scores of masks and of slice labels: pure functions on arrays."""

from __future__ import annotations

import numpy as np


def dice(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Dice of two bool arrays of one shape.

    NaN if both are empty, to be counted apart; 0 if only one of them is.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    _same_shape(prediction, reference)
    total = int(prediction.sum()) + int(reference.sum())
    return 2 * int((prediction & reference).sum()) / total if total else float("nan")


def precision(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Share of the prediction that is in the reference; NaN if nothing is predicted."""
    _same_shape(prediction, reference)
    predicted = int(prediction.sum())
    return int((prediction & reference).sum()) / predicted if predicted else float("nan")


def sensitivity(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Share of the reference that is predicted; NaN if the reference is empty."""
    _same_shape(prediction, reference)
    there = int(reference.sum())
    return int((prediction & reference).sum()) / there if there else float("nan")


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


def _same_shape(prediction: np.ndarray, reference: np.ndarray) -> None:
    # Broadcasting would turn a mix-up into a figure.
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction of shape {prediction.shape}, reference {reference.shape}")
