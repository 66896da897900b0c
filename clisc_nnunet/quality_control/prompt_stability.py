"""How much SAM's answer depends on where exactly its prompts lie."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from clisc_nnunet.metrics import dice
from clisc_nnunet.stages.sam import batched_predictor
from clisc_nnunet.stages.sam.prompts import make_prompts
from clisc_nnunet.stages.sam.types import Prompts
from clisc_nnunet.stages.sam.volume_segmenter import VolumeSegmenter
from clisc_nnunet.stages.slice_extraction import SliceStack


@dataclass(frozen=True)
class JitterSettings:
    """How prompts are moved about."""

    repeats: int = 5
    """Answers that are compared, 2 or more."""
    amount: float = 0.05
    """Largest shift, as a share of the box's sides, and largest change of its size."""
    seed: int = 0


def jittered(prompts: Prompts, amount: float, side: int, rng: np.random.Generator) -> Prompts:
    """Prompts shifted and scaled about the centre of their boxes, each slice by itself.

    Parameters
    ----------
    prompts : Prompts
    amount : float
        See `JitterSettings`.
    side : int
        Of the slices, pixels; prompts stay inside.
    rng : numpy.random.Generator

    Notes
    -----
    The points move with the box, as they would if the whole mask lay a little off.
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
    """Agreement of SAM's axial answers to a mask, when its prompts are moved a little.

    Parameters
    ----------
    draughtsman : Draughtsman
    case : str
        Its name seeds the jitter, so that the order of cases makes no difference.
    stack : SliceStack
    mask : bool ndarray of shape stack.pixels.shape
        Not empty.
    settings : JitterSettings

    Returns
    -------
    float
        Mean Dice of all pairs of answers, 0 to 1; 0 where SAM never draws anything.
    """
    planes = np.flatnonzero(mask.any(axis=(1, 2)))
    rng = np.random.default_rng([settings.seed, zlib.crc32(case.encode())])
    side, batch = stack.pixels.shape[-1], segmenter.settings.batch
    answers: list[list[np.ndarray]] = [[] for _ in range(settings.repeats)]
    for start in range(0, len(planes), batch):
        rows = planes[start : start + batch]
        # The embeddings are those of the first look: only the prompts are decoded anew.
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
    """Mean Dice of all pairs of two or more bool arrays of one shape."""
    pairs = combinations(masks, 2)
    return float(np.mean([dice(first, second, both_empty=1.0) for first, second in pairs]))
