"""Stages 9 and 10 on a volume: several passes of SAM, each prompted by the result of the previous.

1. axial planes, prompted by the region of interest;
2. coronal and sagittal planes, prompted by the axial mask;
3. close-ups: each view again, cropped around the mask and enlarged to SAM's full resolution.

`whole_brain_retry` repeats them with the brain as the region, if the predicted IoU is low, but not
too low for a label. The paper has only the first pass; `SamSettings` disables the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from clisc_nnunet.models.sam import SamModel
from clisc_nnunet.settings import PromptSettings, SamSettings
from clisc_nnunet.stages.connected_components import large_components
from clisc_nnunet.stages.sam import batched_predictor
from clisc_nnunet.stages.sam.embedding_cache import EmbeddingCache
from clisc_nnunet.stages.sam.mask_stacking import OUTSIDE_LOGIT, case_iou, stack_masks
from clisc_nnunet.stages.sam.plane_views import (
    AXES,
    centred_window,
    window_around,
)
from clisc_nnunet.stages.sam.prompts import make_prompts
from clisc_nnunet.stages.sam.prompts_and_masks import Masks
from clisc_nnunet.stages.slice_extraction import SliceStack

# Parts of a mask that prompt the next pass: components of at least this share of the largest, in
# planes with at least this many pixels.
SEED_COMPONENT_RATIO, SEED_PIXELS = 0.1, 9
# Smallest side of a close-up as a share of the slice; smaller crops would lack resolution.
NARROWEST = 0.3
# Smaller differences of the predicted IoU are not meaningful.
BETTER_BY = 0.1


@dataclass(frozen=True)
class VolumeMasks:
    """SAM's mask of a volume.

    Parameters
    ----------
    logits : float32 ndarray of shape (plane, row, column)
        Mask where above 0.
    planes : int ndarray of shape (n,)
        Axial planes with a mask.
    predicted_iou : float32 ndarray of shape (n,)
        IoU of the axial masks as predicted by SAM in the last pass.
    """

    logits: np.ndarray
    planes: np.ndarray
    predicted_iou: np.ndarray


@dataclass(frozen=True)
class VolumeSegmenter:
    """SAM with its settings and a cache of axial embeddings."""

    model: SamModel
    prompts: PromptSettings
    settings: SamSettings
    embeddings: EmbeddingCache

    def segment(self, case: str, stack: SliceStack, region: np.ndarray) -> VolumeMasks:
        """Segment a volume in all passes.

        Parameters
        ----------
        case : str
            Cache key of the axial embeddings.
        stack : SliceStack
        region : bool ndarray of shape (plane, row, column)
            Region of interest, which prompts the first pass.
        """
        planes = np.flatnonzero(region.any(axis=(1, 2)))
        masks = self.axial(case, stack, planes, region)
        logits = stack_masks(masks, planes, stack.pixels.shape, self.settings.min_predicted_iou)
        prompted, iou = planes, masks.predicted_iou
        views = self._views(stack)
        if len(planes) and len(views) > 1:
            logits = self._with_other_views(stack, logits, views[1:])
        if self.settings.close_up and (logits > 0).any():
            logits, prompted, iou = self._close_up(stack, logits, views)
        # Later passes may add planes without an axial mask: their predicted IoU is interpolated.
        reached = np.union1d(planes, np.flatnonzero((logits > 0).any(axis=(1, 2))))
        ious = np.interp(reached, prompted, iou) if len(prompted) else np.zeros(len(reached))
        return VolumeMasks(logits, reached, ious.astype(np.float32))

    def axial(self, case: str, stack: SliceStack, planes: np.ndarray, region: np.ndarray) -> Masks:
        """Axial masks of planes, int (n,), each prompted by its part of `region`, not empty."""
        pixels = stack.pixels
        return self._prompted(
            pixels, region, planes, lambda rows: self.embeddings.get(case, rows, pixels[rows])
        )

    def _with_other_views(
        self, stack: SliceStack, axial: np.ndarray, views: Sequence[str]
    ) -> np.ndarray:
        """Mean logit of all views, float32 (plane, row, column), given that of the axial view."""
        mask = large_components(axial > 0, SEED_COMPONENT_RATIO)
        total, seen_by = axial.copy(), np.ones(axial.shape, np.float32)
        side = stack.pixels.shape[-1]
        for view in views:
            window = centred_window(axial.shape, AXES[view], side)
            pixels, seeds = window.cut(stack.pixels), window.cut(mask)
            planes = np.flatnonzero(seeds.sum(axis=(1, 2)) >= SEED_PIXELS)
            masks = self._prompted(pixels, seeds, planes, partial(self._embed, pixels))
            logits = stack_masks(masks, planes, pixels.shape)
            moved, seen = window.put_back(logits, axial.shape, outside=0.0)
            total += np.where(seen, moved, 0.0)
            seen_by += seen
        return total / seen_by

    def _close_up(
        self, stack: SliceStack, logits: np.ndarray, views: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean logit of all close-ups; prompted axial planes and their predicted IoU."""
        mask = large_components(logits > 0, SEED_COMPONENT_RATIO)
        total, seen_by = np.zeros(mask.shape, np.float32), np.zeros(mask.shape, np.float32)
        side = stack.pixels.shape[-1]
        prompted, iou = np.zeros(0, int), np.zeros(0, np.float32)
        for view in views:
            axis = AXES[view]
            window = window_around(mask, axis, self.settings.close_up, round(NARROWEST * side))
            pixels = _enlarged(window.cut(stack.pixels), side).round().astype(np.uint8)
            seeds = _enlarged(window.cut(mask), side) > 0.5
            planes = np.flatnonzero(seeds.sum(axis=(1, 2)) >= SEED_PIXELS)
            masks = self._prompted(pixels, seeds, planes, partial(self._embed, pixels))
            near = stack_masks(masks, planes, pixels.shape)
            moved, seen = window.put_back(_reduced(near, window.side), mask.shape, OUTSIDE_LOGIT)
            total += np.where(seen, moved, 0.0)
            seen_by += seen
            if view == "axial":
                prompted, iou = planes, masks.predicted_iou
        mean = np.where(seen_by > 0, total / np.maximum(seen_by, 1), np.float32(OUTSIDE_LOGIT))
        return mean, prompted, iou

    def _prompted(
        self,
        pixels: np.ndarray,
        seeds: np.ndarray,
        planes: np.ndarray,
        embed: Callable[[np.ndarray], torch.Tensor],
    ) -> Masks:
        """Masks of planes, in batches.

        Parameters
        ----------
        pixels : uint8 ndarray of shape (m, side, side)
        seeds : bool ndarray of the same shape
            Region that prompts each plane.
        planes : int ndarray of shape (n,)
            Planes to segment.
        embed : callable
            Embeddings of given planes.
        """
        side, batch = pixels.shape[-1], self.settings.batch
        parts = [Masks(np.zeros((0, side, side), np.float32), np.zeros(0, np.float32))]
        for start in range(0, len(planes), batch):
            rows = planes[start : start + batch]
            prompts = make_prompts(pixels[rows], seeds[rows], self.prompts)
            parts.append(
                batched_predictor.segment(self.model.sam, embed(rows), prompts, side, self.settings)
            )
        return Masks(
            np.concatenate([part.logits for part in parts]),
            np.concatenate([part.predicted_iou for part in parts]),
        )

    def _embed(self, pixels: np.ndarray, rows: np.ndarray) -> torch.Tensor:
        return batched_predictor.embed(self.model.sam, pixels[rows], self.settings)

    def _views(self, stack: SliceStack) -> tuple[str, ...]:
        """Views to use: only the axial one where planes are much thicker than pixels."""
        pixel, _, plane = stack.geometry.spacing
        return self.settings.views if plane <= 1.5 * pixel else self.settings.views[:1]


def whole_brain_retry(
    segmenter: VolumeSegmenter, case: str, stack: SliceStack, region: np.ndarray, first: VolumeMasks
) -> VolumeMasks | None:
    """Segment again with the brain as the region; the result, if its predicted IoU is higher.

    Parameters
    ----------
    segmenter : VolumeSegmenter
    case : str
        Cache key of the axial embeddings.
    stack : SliceStack
    region : bool ndarray of shape (plane, row, column)
        Region of interest; only its planes are prompted.
    first : VolumeMasks
        Result for the region.

    Returns
    -------
    VolumeMasks or None
        None if the mean predicted IoU is not higher by at least `BETTER_BY`.
    """
    brain = stack.brain & region.any(axis=(1, 2), keepdims=True)
    retried = segmenter.segment(case, stack, brain)
    better = mean_predicted_iou(retried) >= mean_predicted_iou(first) + BETTER_BY
    return retried if better else None


def mean_predicted_iou(masks: VolumeMasks) -> float:
    """Mean predicted IoU over planes with a non-empty mask; 0 if there are none."""
    return case_iou(Masks(masks.logits[masks.planes], masks.predicted_iou))


def _enlarged(planes: np.ndarray, side: int) -> np.ndarray:
    """Square slices, (n, s, s), enlarged to `side`; float32."""
    tensor = torch.from_numpy(np.ascontiguousarray(planes, np.float32))[:, None]
    return F.interpolate(tensor, (side, side), mode="bilinear", align_corners=False)[:, 0].numpy()


def _reduced(planes: np.ndarray, side: int) -> np.ndarray:
    """Square slices, (n, s, s), reduced to `side` by averaging; float32."""
    tensor = torch.from_numpy(planes)[:, None]
    return F.interpolate(tensor, (side, side), mode="area")[:, 0].numpy()
