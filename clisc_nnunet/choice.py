"""Choose the CAM's layer and threshold without labels: those that SAM agrees with most."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clisc_nnunet.errors import UserError
from clisc_nnunet.store import write_text


@dataclass(frozen=True)
class Trial:
    """SAM's answer to one layer and threshold, over the slices of a sample of cases.

    Parameters
    ----------
    layer : str
    threshold : float
    predicted_iou : float
        Mean of SAM's own estimate; a slice whose region is empty counts 0.
    agreement : float
        Mean Dice of SAM's mask and the region; a slice whose region is empty counts 0.
    """

    layer: str
    threshold: float
    predicted_iou: float
    agreement: float

    @property
    def score(self) -> float:
        """What the choice goes by."""
        return self.predicted_iou * self.agreement


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


def gather(
    layers: Sequence[str],
    thresholds: Sequence[float],
    answers: Sequence[tuple[np.ndarray, np.ndarray]],
) -> list[Trial]:
    """Trials from the answers on several cases; every plane counts alike.

    Parameters
    ----------
    layers, thresholds : sequence
        What was tried.
    answers : sequence of (predicted IoU, agreement)
        One pair a case, each ndarray of shape (layer, threshold, plane).
    """
    ious, agreements = (
        np.concatenate(part, axis=2).mean(axis=2) for part in zip(*answers, strict=True)
    )
    return [
        Trial(layer, threshold, float(ious[i, j]), float(agreements[i, j]))
        for i, layer in enumerate(layers)
        for j, threshold in enumerate(thresholds)
    ]


def best(trials: list[Trial]) -> Trial:
    """Trial of the highest score; the first of equals.

    Raises
    ------
    ValueError
        If there is none.
    """
    return max(trials, key=lambda trial: trial.score)


def write_choice(path: Path, signature: str, chosen: Trial) -> None:
    """Keep the choice for processes that see a share of the cases only."""
    content = {"signature": signature, "layer": chosen.layer, "threshold": chosen.threshold}
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_choice(path: Path, signature: str) -> tuple[str, float] | None:
    """Layer and threshold that were chosen; None if there is no choice of this signature."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        same = content["signature"] == signature
        return (content["layer"], content["threshold"]) if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def not_learnt_yet(path: Path, found: str, name: str) -> UserError:
    """The line for a share of the cases that comes before what is learnt from all of them."""
    stage = "classifier" if name == "raw" else "enhanced"
    return UserError(
        path,
        found,
        "what was learnt from all cases, with the same settings and weights",
        f"run --stage {stage} first, without -num_parts",
    )
