"""Stages 5 and 6: select CAM layer and threshold without labels, by agreement with SAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clisc_nnunet.errors import UserError
from clisc_nnunet.settings import Settings


@dataclass(frozen=True)
class Trial:
    """Result of one layer and threshold on the slices of a sample of cases.

    Parameters
    ----------
    layer : str
        Layer of the backbone.
    threshold : float
        CAM threshold of the region.
    predicted_iou : float
        Mean SAM-predicted IoU; slices with an empty region count as 0.
    agreement : float
        Mean Dice of SAM's mask and the region; slices with an empty region count as 0.
    """

    layer: str
    threshold: float
    predicted_iou: float
    agreement: float

    @property
    def score(self) -> float:
        """Selection criterion, the product of both."""
        return self.predicted_iou * self.agreement


def candidates(settings: Settings, available: Sequence[str]) -> tuple[list[str], list[float]]:
    """Layers and thresholds to compare; a single one each where the settings fix it.

    Parameters
    ----------
    settings : Settings
    available : sequence of str
        Layers of the backbone.

    Raises
    ------
    UserError
        If there is no layer or no threshold to select from.
    """
    name, requested = "cam.layer", [settings.cam.layer]
    if requested == ["auto"]:
        name, requested = "cam.candidates", list(settings.cam.candidates)
    layers = [layer for layer in requested if layer in available]
    if not layers:
        found, expected = ", ".join(requested) or "none", f"some of {', '.join(available)}"
        raise UserError(f"setting {name}", found, expected, "choose a layer of this backbone")
    thresholds = [settings.roi.threshold]
    if thresholds == [0.0]:
        thresholds = list(settings.roi.candidates)
    if not thresholds:
        raise UserError("setting roi.candidates", "none", "at least one", "give values from 0 to 1")
    return layers, thresholds


def spread(values: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the values, ndarray (n,), evenly spaced in their order."""
    if not len(values):
        return values
    return values[np.unique(np.linspace(0, len(values) - 1, count).round().astype(int))]


def gather(
    layers: Sequence[str],
    thresholds: Sequence[float],
    answers: Sequence[tuple[np.ndarray, np.ndarray]],
) -> list[Trial]:
    """Average the results of several cases; every plane has the same weight.

    Parameters
    ----------
    layers : sequence of str
    thresholds : sequence of float
    answers : sequence of (predicted IoU, agreement)
        One pair per case, float ndarrays of shape (layer, threshold, plane).

    Returns
    -------
    list of Trial
        Layer by layer.
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
    """Trial with the highest score; the first one in case of ties.

    Raises
    ------
    ValueError
        If there are no trials.
    """
    return max(trials, key=lambda trial: trial.score)
