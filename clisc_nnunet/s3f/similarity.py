"""S3F: would SAM, prompted with the network's mask, draw the same (paper, self-learning).

Where two models of different origin agree, both are probably right; where they disagree, one of
them is wrong, and the case is not worth learning from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from clisc_nnunet.models.sam import SamModel
from clisc_nnunet.settings import Settings
from clisc_nnunet.stages.pseudo_label import fill_holes
from clisc_nnunet.stages.sam.embedding_cache import EmbeddingCache
from clisc_nnunet.stages.sam.volume_segmenter import VolumeSegmenter
from clisc_nnunet.stages.slice_extraction import SliceStack

SamPasses = Literal["axial", "all"]


@dataclass(frozen=True)
class Answer:
    """SAM's answer to a mask.

    Parameters
    ----------
    mask : bool ndarray of shape (plane, row, column)
    predicted_iou : float
        SAM's own estimate, the mean of the planes; NaN where the prompting mask was empty.
    """

    mask: np.ndarray
    predicted_iou: float


def make_volume_segmenter(model: SamModel, settings: Settings, looks: SamPasses) -> VolumeSegmenter:
    """SAM as S3F prompts it.

    Parameters
    ----------
    model : SamModel
    settings : Settings
        Of the pseudo-labels.
    looks : str
        `axial`: each axial plane once (paper); `all`: as the pseudo-labels were drawn.
    """
    drawing = settings.sam
    if looks == "axial":
        drawing = drawing.axial_only()
    # The paper's boxes touch the mask; a network's outline is closer than a CAM's.
    prompts = replace(settings.prompts, margin=0)
    return VolumeSegmenter(model, prompts, drawing, EmbeddingCache(model, drawing))


def answer(segmenter: VolumeSegmenter, case: str, stack: SliceStack, mask: np.ndarray) -> Answer:
    """Let SAM draw what a mask points at.

    Parameters
    ----------
    draughtsman : Draughtsman
    case : str
    stack : SliceStack
    mask : bool ndarray of shape stack.pixels.shape
        The network's prediction on the grid of the slices.
    """
    drawn = segmenter.segment(case, stack, mask)
    estimate = float(drawn.predicted_iou.mean()) if len(drawn.planes) else float("nan")
    return Answer((fill_holes(drawn.logits) > 0) & stack.brain, estimate)


def vote(label: np.ndarray, prediction: np.ndarray, answered: np.ndarray) -> np.ndarray:
    """Voxels that two of three call tumour: label, network, SAM; bool, of one shape."""
    return label.astype(np.uint8) + prediction + answered >= 2
