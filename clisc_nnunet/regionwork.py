"""Stages 5, 6, 9 and 10 on the slices of a case: from a classifier to regions and SAM's masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from clisc_nnunet import cam, roi, sam
from clisc_nnunet.choice import Trial, agreement
from clisc_nnunet.components import large_components
from clisc_nnunet.embeddings import EmbeddingCache
from clisc_nnunet.models.slice_classifier import SliceClassifier
from clisc_nnunet.models.trio import Models
from clisc_nnunet.prompts import make_prompts
from clisc_nnunet.pseudo_label import stack_masks
from clisc_nnunet.records import Masks
from clisc_nnunet.settings import Settings
from clisc_nnunet.slices import SliceStack
from clisc_nnunet.views import AXES, from_square_planes, square_planes

# What of the axial masks prompts the other views: components of this share of the largest, and
# planes with this many pixels of them.
SEED_COMPONENT_RATIO, SEED_PIXELS = 0.1, 9


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
    embeddings: EmbeddingCache
    device: torch.device

    def candidates(self) -> tuple[list[str], list[float]]:
        """Layers and thresholds to choose from: one each where they are set."""
        layers = [self.settings.cam.layer]
        if layers == ["auto"]:
            there = self.models.backbone.layers
            layers = [layer for layer in self.settings.cam.candidates if layer in there]
        thresholds = [self.settings.roi.threshold]
        if thresholds == [0.0]:
            thresholds = list(self.settings.roi.candidates)
        return layers, thresholds

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
            `predicted_iou` of the axial masks and `agreement` with the region, float (n,).
        """
        planes = np.flatnonzero(region.any(axis=(1, 2)))
        masks = self.segment(case, stack, planes, region)
        logits = stack_masks(masks, planes, stack.pixels.shape, self.settings.sam.min_predicted_iou)
        iou = masks.predicted_iou
        if len(planes) and self._sees_other_views(stack):
            logits = self._with_other_views(stack, logits)
            # Other views may reach planes that had no axial mask: they take their neighbours'.
            reached = np.union1d(planes, np.flatnonzero((logits > 0).any(axis=(1, 2))))
            planes, iou = reached, np.interp(reached, planes, iou)
        return {
            "planes": planes,
            "logits": logits[planes].astype(np.float16),
            "predicted_iou": np.asarray(iou, np.float32),
            "agreement": agreement(logits[planes] > 0, region[planes]),
        }

    def segment(
        self, case: str, stack: SliceStack, planes: np.ndarray, region: np.ndarray
    ) -> Masks:
        """Axial masks of some planes, (n,), each prompted by its region, which is not empty."""
        batch, parts = self.settings.sam.batch, [self._nothing(stack)]
        for start in range(0, len(planes), batch):
            rows = planes[start : start + batch]
            embedded = self.embeddings.get(case, rows, stack.pixels[rows])
            parts.append(self._prompted(stack.pixels[rows], region[rows], embedded))
        return _joined(parts)

    def _with_other_views(self, stack: SliceStack, axial: np.ndarray) -> np.ndarray:
        """Mean logit of all views, (plane, row, column), of which the axial one is given."""
        mask = large_components(axial > 0, SEED_COMPONENT_RATIO)
        total, views = axial.copy(), np.ones(axial.shape, np.float32)
        side, batch, sam_model = stack.pixels.shape[-1], self.settings.sam.batch, self.models.sam
        for name in self.settings.sam.views[1:]:
            pixels = square_planes(stack.pixels, AXES[name], side)
            seeds = square_planes(mask, AXES[name], side)
            planes = np.flatnonzero(seeds.sum(axis=(1, 2)) >= SEED_PIXELS)
            parts = [self._nothing(stack)]
            for start in range(0, len(planes), batch):
                rows = planes[start : start + batch]
                embedded = sam.embed(sam_model.sam, pixels[rows], self.settings.sam)
                parts.append(self._prompted(pixels[rows], seeds[rows], embedded))
            logits = stack_masks(_joined(parts), planes, pixels.shape)
            moved, seen = from_square_planes(logits, AXES[name], axial.shape)
            total += np.where(seen, moved, 0.0)
            views += seen
        return total / views

    def _sees_other_views(self, stack: SliceStack) -> bool:
        pixel, _, plane = stack.geometry.spacing
        return len(self.settings.sam.views) > 1 and plane <= 1.5 * pixel

    def _prompted(self, pixels: np.ndarray, seeds: np.ndarray, embedded: torch.Tensor) -> Masks:
        prompts = make_prompts(pixels, seeds, self.settings.prompts)
        return sam.segment(
            self.models.sam.sam, embedded, prompts, pixels.shape[-1], self.settings.sam
        )

    @staticmethod
    def _nothing(stack: SliceStack) -> Masks:
        side = stack.pixels.shape[-1]
        return Masks(np.zeros((0, side, side), np.float32), np.zeros(0, np.float32))

    def trials(
        self, samples: Sequence[Sample], layers: Sequence[str], thresholds: Sequence[float]
    ) -> list[Trial]:
        """SAM's answer to every layer and threshold on the samples."""
        return [
            self._trial(layer, threshold, samples, volumes)
            for layer in layers
            for volumes in [[self._cam(sample.stack, layer)[0] for sample in samples]]
            for threshold in thresholds
        ]

    def _trial(
        self,
        layer: str,
        threshold: float,
        samples: Sequence[Sample],
        volumes: Sequence[np.ndarray],
    ) -> Trial:
        ious, agreements = [], []
        for sample, volume in zip(samples, volumes, strict=True):
            region = self._region(volume, sample.stack, threshold)
            drawn = sample.planes[region[sample.planes].any(axis=(1, 2))]
            masks = self.segment(sample.case, sample.stack, drawn, region)
            # Slices whose region is empty count 0, or the highest threshold would win.
            empty = [0.0] * (len(sample.planes) - len(drawn))
            ious += [*masks.predicted_iou.tolist(), *empty]
            agreements += [*agreement(masks.logits > 0, region[drawn]).tolist(), *empty]
        return Trial(layer, threshold, float(np.mean(ious)), float(np.mean(agreements)))

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


def _joined(parts: Sequence[Masks]) -> Masks:
    return Masks(
        np.concatenate([part.logits for part in parts]),
        np.concatenate([part.predicted_iou for part in parts]),
    )


def spread(values: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the values, (n,), evenly over their order."""
    if not len(values):
        return values
    return values[np.unique(np.linspace(0, len(values) - 1, count).round().astype(int))]
