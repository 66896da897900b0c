"""S3F: would SAM, prompted with the network's mask, draw the same (paper, self-learning).

Where two models of different origin agree, both are probably right; where they disagree, one of
them is wrong, and the case is not worth learning from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cc3d
import numpy as np

from clisc_nnunet import sam
from clisc_nnunet.models.sam_models import SamModel
from clisc_nnunet.prompts import make_prompts
from clisc_nnunet.settings import PromptSettings, SamSettings
from clisc_nnunet.slices import SliceStack


@dataclass(frozen=True)
class RedrawSettings:
    """How SAM is asked again."""

    prompts: PromptSettings = field(default_factory=lambda: PromptSettings(margin=0))
    """The paper prompts with boxes that touch the network's mask."""
    sam: SamSettings = field(default_factory=SamSettings)


@dataclass(frozen=True)
class Redrawn:
    """SAM's answer to a mask.

    Parameters
    ----------
    mask : bool ndarray of shape (plane, row, column)
    predicted_iou : float
        SAM's own estimate, the mean of the planes weighted by the area of their prompts; NaN
        where the prompting mask was empty.
    """

    mask: np.ndarray
    predicted_iou: float


def redraw(
    model: SamModel, stack: SliceStack, mask: np.ndarray, settings: RedrawSettings
) -> Redrawn:
    """Prompt SAM with each axial plane of a mask.

    Parameters
    ----------
    model : SamModel
    stack : SliceStack
    mask : bool ndarray of shape stack.pixels.shape
        The network's prediction on the grid of the slices.
    settings : RedrawSettings
    """
    drawn = np.zeros(mask.shape, bool)
    planes = np.flatnonzero(mask.any(axis=(1, 2)))
    if not len(planes):
        return Redrawn(drawn, float("nan"))
    ious = []
    for start in range(0, len(planes), settings.sam.batch):
        rows = planes[start : start + settings.sam.batch]
        pixels = stack.pixels[rows]
        embeddings = sam.embed(model.sam, pixels, settings.sam)
        prompts = make_prompts(pixels, mask[rows], settings.prompts)
        masks = sam.segment(model.sam, embeddings, prompts, pixels.shape[-1], settings.sam)
        drawn[rows] = (masks.logits > 0) & stack.brain[rows]
        ious.append(masks.predicted_iou)
    areas = mask[planes].sum(axis=(1, 2))
    return Redrawn(drawn, float(np.average(np.concatenate(ious), weights=areas)))


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Dice coefficient of two bool arrays of one shape; 1 where both are empty."""
    total = int(first.sum()) + int(second.sum())
    return 2.0 * int((first & second).sum()) / total if total else 1.0


def largest_component(mask: np.ndarray) -> np.ndarray:
    """Largest connected component, 26 neighbours; bool (plane, row, column) in and out."""
    if not mask.any():
        return mask
    return cc3d.largest_k(mask, k=1, connectivity=26, binary_image=True).astype(bool)


def agreed_component(
    mask: np.ndarray, agreement: Callable[[np.ndarray], float], ratio: float, most: int = 4
) -> np.ndarray:
    """Component of which SAM confirms the most voxels.

    The largest component may be a bright rim of the brain, and a smaller one the tumour.

    Parameters
    ----------
    mask : bool ndarray of shape (plane, row, column)
    agreement : callable
        Similarity of a component and SAM's answer to it, 0 to 1.
    ratio : float
        Components below this share of the largest are not asked about.
    most : int
        At most so many are.

    Returns
    -------
    bool ndarray of the same shape
    """
    if not mask.any():
        return mask
    labels, count = cc3d.largest_k(mask, k=most, connectivity=26, return_N=True)
    parts = [labels == label for label in range(1, count + 1)]
    sizes = [int(part.sum()) for part in parts]
    asked = [i for i, size in enumerate(sizes) if size >= ratio * max(sizes)]
    if len(asked) == 1:
        return parts[asked[0]]
    return parts[max(asked, key=lambda i: (sizes[i] * agreement(parts[i]), sizes[i]))]
