"""Stages 5, 6, 9 and 10 on the slices of a case: from a classifier to regions and SAM's masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from clisc_nnunet import cam, roi
from clisc_nnunet.choice import Trial, agreement, gather
from clisc_nnunet.drawing import Draughtsman
from clisc_nnunet.errors import UserError
from clisc_nnunet.models.slice_classifier import SliceClassifier
from clisc_nnunet.models.trio import Models
from clisc_nnunet.second_opinion import rating, second_opinion
from clisc_nnunet.settings import Settings
from clisc_nnunet.slices import SliceStack


@dataclass(frozen=True)
class Sample:
    """Planes of a case by which layers and thresholds are judged."""

    case: str
    stack: SliceStack
    planes: np.ndarray


@dataclass(frozen=True)
class RegionFinder:
    """Regions of one trained classifier, and what SAM makes of them."""

    classifier: SliceClassifier
    models: Models
    settings: Settings
    draughtsman: Draughtsman
    device: torch.device

    def candidates(self) -> tuple[list[str], list[float]]:
        """Layers and thresholds to choose from: one each where they are set."""
        return candidates(self.settings, self.models.backbone.layers)

    def find(self, stack: SliceStack, layer: str, threshold: float) -> dict[str, np.ndarray]:
        """Stages 5 and 6 for a case, as arrays for the store.

        Returns
        -------
        dict
            `planes` that the classifier calls tumour, int (n,); its `probability` for all planes
            with brain, float32 (m,); `cam` of the tumour planes, uint8 (n, row, column), 255 is 1;
            `roi`, bool (plane, row, column) as packed bits.
        """
        volume, planes, probability = self._cam(stack, layer)
        # Kept as 8 bit; the region is that of the kept CAM, so that both can be compared.
        kept = np.rint(255 * volume).astype(np.uint8)
        region = self._region(kept.astype(np.float32) / 255, stack, threshold)
        return {
            "planes": planes,
            "probability": probability,
            "cam": kept[planes],
            "roi": np.packbits(region),
        }

    def draw(self, case: str, stack: SliceStack, region: np.ndarray) -> dict[str, np.ndarray]:
        """Stages 9 and 10 for a case, as arrays for the store.

        Parameters
        ----------
        case : str
            Under which SAM's embeddings are remembered.
        stack : SliceStack
        region : bool ndarray of shape (plane, row, column)

        Returns
        -------
        dict
            `planes` with a mask, int (n,); their `logits`, float16 (n, row, column);
            `predicted_iou` of the axial masks and `agreement` with the region, float (n,);
            `second_opinion`, bool (): whether they are SAM's answer to the whole brain.
        """
        drawn, second = self.draughtsman.draw(case, stack, region), None
        # A case that gets no label by its first answer gets none by a second one.
        enough, sure = self.settings.pseudo_label.min_case_iou, self.settings.sam.second_opinion
        if enough <= rating(drawn) < sure:
            second = second_opinion(self.draughtsman, case, stack, region, drawn)
        drawn = second or drawn
        logits = drawn.logits[drawn.planes]
        return {
            "planes": drawn.planes,
            "logits": logits.astype(np.float16),
            "predicted_iou": drawn.predicted_iou,
            "agreement": agreement(logits > 0, region[drawn.planes]),
            "second_opinion": np.array(second is not None),
        }

    def trials(
        self, samples: Sequence[Sample], layers: Sequence[str], thresholds: Sequence[float]
    ) -> list[Trial]:
        """SAM's answer to every layer and threshold on the samples."""
        answers = [self.answers(sample, layers, thresholds) for sample in samples]
        return gather(layers, thresholds, answers)

    def answers(
        self, sample: Sample, layers: Sequence[str], thresholds: Sequence[float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """SAM's answer to every layer and threshold on the planes of one case.

        Returns
        -------
        predicted_iou, agreement : float64 ndarray of shape (layer, threshold, plane)
            0 where a plane's region is empty, or the highest threshold would win.
        """
        shape = (len(layers), len(thresholds), len(sample.planes))
        ious, agreements = np.zeros(shape), np.zeros(shape)
        for i, layer in enumerate(layers):
            volume, _, _ = self._cam(sample.stack, layer)
            for j, threshold in enumerate(thresholds):
                region = self._region(volume, sample.stack, threshold)
                shown = region[sample.planes].any(axis=(1, 2))
                drawn = sample.planes[shown]
                masks = self.draughtsman.axial(sample.case, sample.stack, drawn, region)
                ious[i, j, shown] = masks.predicted_iou
                agreements[i, j, shown] = agreement(masks.logits > 0, region[drawn])
        return ious, agreements

    def _cam(self, stack: SliceStack, layer: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """CAM volume (plane, row, column) in 0..1, tumour planes, probability of brain planes."""
        planes = stack.planes_with_brain
        found, probability = cam.layer_cam(
            self.classifier, stack.pixels[planes], layer, self.device
        )
        volume = np.zeros(stack.pixels.shape, np.float32)
        volume[planes] = found
        return volume, planes[probability > 0.5], probability

    def _region(self, volume: np.ndarray, stack: SliceStack, threshold: float) -> np.ndarray:
        plane_mm = stack.geometry.spacing[2]
        return roi.region_of_interest(volume, stack.brain, threshold, self.settings.roi, plane_mm)


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


def unpack_region(packed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Region of interest, bool (plane, row, column), from the packed bits of the store."""
    return np.unpackbits(packed, count=int(np.prod(shape))).reshape(shape).astype(bool)


def spread(values: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the values, (n,), evenly over their order."""
    if not len(values):
        return values
    return values[np.unique(np.linspace(0, len(values) - 1, count).round().astype(int))]
