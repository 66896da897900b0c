"""S3F similarity: compare a prediction with SAM's segmentation prompted by it (paper).

If two independently trained models agree, both are probably right. If they disagree, at least one
is wrong, and the case should not be used for training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import expit

from clisc_nnunet.metrics import dice
from clisc_nnunet.models.sam import SamModel
from clisc_nnunet.settings import Settings
from clisc_nnunet.stages.pseudo_label import fill_holes
from clisc_nnunet.stages.sam.embedding_cache import EmbeddingCache
from clisc_nnunet.stages.sam.volume_segmenter import VolumeSegmenter
from clisc_nnunet.stages.slice_extraction import SliceStack

SamPasses = Literal["axial", "all"]
# Standard deviation of a label's outline.
OUTLINE_MM = 2.0


@dataclass(frozen=True)
class SamSegmentation:
    """SAM's segmentation of a volume that was prompted with a mask.

    Parameters
    ----------
    probability : float32 ndarray of shape (plane, row, column)
        0 outside the brain.
    predicted_iou : float
        IoU predicted by SAM, averaged over planes; NaN if the prompting mask was empty.
    """

    probability: np.ndarray
    predicted_iou: float

    @property
    def mask(self) -> np.ndarray:
        """Bool (plane, row, column)."""
        return self.probability > 0.5


def make_volume_segmenter(
    model: SamModel, settings: Settings, passes: SamPasses
) -> VolumeSegmenter:
    """Segmenter with the prompts and passes that S3F uses.

    Parameters
    ----------
    model : SamModel
    settings : Settings
        Settings of the pseudo-labels.
    passes : {'axial', 'all'}
        `axial`: each axial plane once (paper); `all`: the passes used for the pseudo-labels.
    """
    sam = settings.sam
    if passes == "axial":
        sam = sam.axial_only()
    # No margin, as in the paper: the outline of a prediction is closer than that of a CAM.
    prompts = replace(settings.prompts, margin=0)
    return VolumeSegmenter(model, prompts, sam, EmbeddingCache(model, sam))


def resegment(
    segmenter: VolumeSegmenter, case: str, stack: SliceStack, mask: np.ndarray
) -> SamSegmentation:
    """Segment a volume by SAM, prompted with a mask.

    Parameters
    ----------
    segmenter : VolumeSegmenter
    case : str
        Key of the embedding cache.
    stack : SliceStack
    mask : bool ndarray of shape stack.pixels.shape
        The network's prediction on the grid of the slices.
    """
    drawn = segmenter.segment(case, stack, mask)
    predicted_iou = float(drawn.predicted_iou.mean()) if len(drawn.planes) else float("nan")
    logits = np.where(stack.brain, fill_holes(drawn.logits), -np.inf)
    return SamSegmentation(expit(logits).astype(np.float32), predicted_iou)


def similarity_measures(
    label: np.ndarray,
    prediction: np.ndarray,
    label_on_slices: np.ndarray,
    prediction_on_slices: np.ndarray,
    sam: np.ndarray,
) -> dict[str, float]:
    """Pairwise agreement of label, prediction and SAM's segmentation.

    Parameters
    ----------
    label, prediction : bool ndarray of one shape
        On the grid of the network.
    label_on_slices, prediction_on_slices, sam : bool ndarray of shape (plane, row, column)
        On the grid of the slices.

    Returns
    -------
    dict of name to float
        `sam`: Dice of prediction and SAM (paper). `label`: Dice of label and prediction.
        `answer`: Dice of label and SAM. `support`: mean of `label` and `answer`, i.e. how well
        network and SAM support the label.
    """
    by_network = dice(label, prediction, both_empty=1.0)
    by_sam = dice(label_on_slices, sam, both_empty=1.0)
    return {
        "sam": dice(sam, prediction_on_slices, both_empty=1.0),
        "label": by_network,
        "answer": by_sam,
        "support": (by_network + by_sam) / 2,
    }


def majority_vote(label: np.ndarray, prediction: np.ndarray, sam: np.ndarray) -> np.ndarray:
    """Voxels marked as tumour by at least two of label, network and SAM; bool arrays."""
    return label.astype(np.uint8) + prediction + sam >= 2


def soft_vote(
    label: np.ndarray, prediction: np.ndarray, sam: np.ndarray, spacing: Sequence[float]
) -> np.ndarray:
    """Mean probability of label, prediction and SAM.

    Parameters
    ----------
    label : bool ndarray of shape (x, y, z)
        Its outline counts as uncertain by about a voxel of the scan.
    prediction, sam : float ndarray of the same shape
        Probabilities.
    spacing : sequence of 3 float
        Millimetres, in order of the axes.

    Returns
    -------
    float32 ndarray of the same shape

    Notes
    -----
    The prediction counts as much as label and SAM together, since SAM drew the label, too. On
    phantoms of unseen kinds the result is better than label and SAM, and as good as the prediction
    (docs/lab_notebook.md).
    """
    sigma = [OUTLINE_MM / mm for mm in spacing]
    smooth = gaussian_filter(label.astype(np.float32), sigma, truncate=3.0)
    return ((smooth + sam) / 4 + prediction / 2).astype(np.float32)
