"""Choose the CAM's layer and threshold without labels: those that SAM agrees with most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clisc_nnunet.errors import UserError
from clisc_nnunet.settings import Settings
from clisc_nnunet.stages.slice_extraction import SliceStack


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


@dataclass(frozen=True)
class Sample:
    """Planes of a case by which layers and thresholds are judged."""

    case: str
    stack: SliceStack
    planes: np.ndarray


def candidates(settings: Settings, there: Sequence[str]) -> tuple[list[str], list[float]]:
    """Layers, of those that are there, and thresholds to choose from: one each where set.

    Raises
    ------
    UserError
        If nothing is left to choose from.
    """
    name, asked = "cam.layer", [settings.cam.layer]
    if asked == ["auto"]:
        name, asked = "cam.candidates", list(settings.cam.candidates)
    layers = [layer for layer in asked if layer in there]
    if not layers:
        found, expected = ", ".join(asked) or "none", f"some of {', '.join(there)}"
        raise UserError(f"setting {name}", found, expected, "name a layer of this backbone")
    thresholds = [settings.roi.threshold]
    if thresholds == [0.0]:
        thresholds = list(settings.roi.candidates)
    if not thresholds:
        raise UserError("setting roi.candidates", "none", "one at least", "give some, 0 to 1")
    return layers, thresholds


def spread(values: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the values, (n,), evenly over their order."""
    if not len(values):
        return values
    return values[np.unique(np.linspace(0, len(values) - 1, count).round().astype(int))]
