"""Overlap of two masks.

The value for two empty masks is chosen at each call, by `both_empty`. If only one of the masks is
empty, the overlap is 0.
"""

from __future__ import annotations

from typing import overload

import numpy as np

Axes = int | tuple[int, ...]


@overload
def dice(
    first: np.ndarray, second: np.ndarray, *, both_empty: float = ..., axis: None = ...
) -> float: ...


@overload
def dice(
    first: np.ndarray, second: np.ndarray, *, both_empty: float = ..., axis: Axes
) -> np.ndarray: ...


def dice(
    first: np.ndarray,
    second: np.ndarray,
    *,
    both_empty: float = float("nan"),
    axis: Axes | None = None,
) -> float | np.ndarray:
    r"""Dice coefficient of two masks.

    Parameters
    ----------
    first, second : bool ndarray of one shape
    both_empty : float
        Result for two empty masks, where the coefficient is 0 / 0:

        - NaN for scores against a reference, where such cases are counted separately;
        - 1 for the similarity of two predictions, since both contain no tumour;
        - 0 for selecting among regions, since two empty masks provide no evidence.
    axis : int or tuple of int, optional
        Axes to sum over, such as (1, 2) for one value per plane; default: all of them.

    Returns
    -------
    float, or float64 ndarray if `axis` is given
        In 0..1, or `both_empty`. 0 if only one of the two masks is empty.

    Raises
    ------
    ValueError
        If the shapes differ.

    Notes
    -----
    .. math:: D(A, B) = \frac{2 |A \cap B|}{|A| + |B|}

    References
    ----------
    Dice (1945), Measures of the amount of ecologic association between species. Ecology 26(3).
    """
    _same_shape(first, second)
    sizes = first.sum(axis=axis) + second.sum(axis=axis)
    return _ratio(2 * (first & second).sum(axis=axis), sizes, both_empty)


@overload
def iou(
    first: np.ndarray, second: np.ndarray, *, both_empty: float = ..., axis: None = ...
) -> float: ...


@overload
def iou(
    first: np.ndarray, second: np.ndarray, *, both_empty: float = ..., axis: Axes
) -> np.ndarray: ...


def iou(
    first: np.ndarray,
    second: np.ndarray,
    *,
    both_empty: float = float("nan"),
    axis: Axes | None = None,
) -> float | np.ndarray:
    r"""Intersection over union of two masks; parameters, result and errors as for `dice`.

    Notes
    -----
    .. math:: J(A, B) = \frac{|A \cap B|}{|A \cup B|}
    """
    _same_shape(first, second)
    return _ratio((first & second).sum(axis=axis), (first | second).sum(axis=axis), both_empty)


def precision(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Share of the prediction that is in the reference; NaN if nothing is predicted."""
    _same_shape(prediction, reference)
    return float(_ratio((prediction & reference).sum(), prediction.sum(), float("nan")))


def sensitivity(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Share of the reference that is predicted; NaN if the reference is empty."""
    _same_shape(prediction, reference)
    return float(_ratio((prediction & reference).sum(), reference.sum(), float("nan")))


def _ratio(part: np.ndarray, total: np.ndarray, if_none: float) -> float | np.ndarray:
    """Ratio in float64; `if_none` where the total is 0. Returns a float for scalars."""
    ratio = np.where(total > 0, part / np.maximum(total, 1), if_none)
    return ratio if ratio.ndim else float(ratio)


def _same_shape(first: np.ndarray, second: np.ndarray) -> None:
    # Broadcasting would hide a mix-up.
    if first.shape != second.shape:
        raise ValueError(f"masks of shapes {first.shape} and {second.shape}; expected one shape")
