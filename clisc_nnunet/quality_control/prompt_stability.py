"""Stability of SAM's segmentation under small changes of its prompts."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from clisc_nnunet.metrics import dice
from clisc_nnunet.stages.sam import batched_predictor
from clisc_nnunet.stages.sam.prompts import make_prompts
from clisc_nnunet.stages.sam.prompts_and_masks import Prompts
from clisc_nnunet.stages.sam.volume_segmenter import VolumeSegmenter
from clisc_nnunet.stages.slice_extraction import SliceStack


@dataclass(frozen=True)
class JitterSettings:
    """Settings of the prompt jitter."""

    repeats: int = 5
    """Number of segmentations to compare, at least 2."""
    amount: float = 0.05
    """Maximum shift and maximum change of size, relative to the size of the box."""
    seed: int = 0


def jittered(prompts: Prompts, amount: float, side: int, rng: np.random.Generator) -> Prompts:
    """Shift and scale prompts about the centres of their boxes, independently for each slice.

    Parameters
    ----------
    prompts : Prompts
    amount : float
        See `JitterSettings`.
    side : int
        Side of the slices in pixels; prompts are clipped to it.
    rng : numpy.random.Generator

    Notes
    -----
    Points are transformed with their box, as if the mask were shifted and scaled.
    """
    n = len(prompts)
    corners = prompts.boxes.reshape(n, 2, 2)
    centre = corners.mean(axis=1, keepdims=True)
    extent = corners[:, 1:] - corners[:, :1]
    shift = extent * rng.uniform(-amount, amount, (n, 1, 2))
    scale = 1 + rng.uniform(-amount, amount, (n, 1, 1))

    def moved(points: np.ndarray) -> np.ndarray:
        there = centre + shift + (points - centre) * scale
        return np.clip(there, 0, side - 1).astype(np.float32)

    return replace(prompts, boxes=moved(corners).reshape(n, 4), points=moved(prompts.points))


def stability(
    segmenter: VolumeSegmenter,
    case: str,
    stack: SliceStack,
    mask: np.ndarray,
    settings: JitterSettings,
) -> float:
    """Agreement of SAM's axial segmentations of a mask for jittered prompts.

    Parameters
    ----------
    segmenter : VolumeSegmenter
    case : str
        Seeds the jitter, so that results do not depend on the order of the cases.
    stack : SliceStack
    mask : bool ndarray of shape stack.pixels.shape
        Not empty.
    settings : JitterSettings

    Returns
    -------
    float
        Mean Dice of all pairs of segmentations, 0 to 1; 0 if all of them are empty.
    """
    planes = np.flatnonzero(mask.any(axis=(1, 2)))
    rng = np.random.default_rng([settings.seed, zlib.crc32(case.encode())])
    side, batch = stack.pixels.shape[-1], segmenter.settings.batch
    answers: list[list[np.ndarray]] = [[] for _ in range(settings.repeats)]
    for start in range(0, len(planes), batch):
        rows = planes[start : start + batch]
        # Embeddings come from the cache; only the decoder runs again.
        embeddings = segmenter.embeddings.get(case, rows, stack.pixels[rows])
        prompts = make_prompts(stack.pixels[rows], mask[rows], segmenter.prompts)
        for answer in answers:
            moved = jittered(prompts, settings.amount, side, rng)
            drawn = batched_predictor.segment(
                segmenter.model.sam, embeddings, moved, side, segmenter.settings
            )
            answer.append((drawn.logits > 0) & stack.brain[rows])
    volumes = [np.concatenate(answer) for answer in answers]
    return mean_overlap(volumes) if any(volume.any() for volume in volumes) else 0.0


def mean_overlap(masks: Sequence[np.ndarray]) -> float:
    """Mean Dice of all pairs of at least two bool arrays of one shape."""
    pairs = combinations(masks, 2)
    return float(np.mean([dice(first, second, both_empty=1.0) for first, second in pairs]))
