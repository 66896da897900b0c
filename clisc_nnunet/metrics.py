"""Overlap of two masks."""

from __future__ import annotations

import numpy as np


def agreement(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Dice of masks, slice by slice.

    Parameters
    ----------
    first, second : bool ndarray of shape (n, row, column)

    Returns
    -------
    float64 ndarray of shape (n,)
        0 where both are empty: two empty masks agree on nothing that helps to choose.
    """
    both = (first & second).sum(axis=(1, 2))
    total = first.sum(axis=(1, 2)) + second.sum(axis=(1, 2))
    return 2 * both / np.maximum(total, 1)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Dice coefficient of two bool arrays of one shape; 1 where both are empty, for they agree.

    `evaluation.scores.dice` compares with references, and nothing here may import it.
    """
    total = int(first.sum()) + int(second.sum())
    return 2.0 * int((first & second).sum()) / total if total else 1.0


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


def _same_shape(prediction: np.ndarray, reference: np.ndarray) -> None:
    # Broadcasting would turn a mix-up into a figure.
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction of shape {prediction.shape}, reference {reference.shape}")
