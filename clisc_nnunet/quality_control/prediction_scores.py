"""Rank predictions by how far SAM agrees with them, without labels (S3F at prediction time).

The trainer uses this agreement to reject cases during training; here it scores finished
predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from clisc_nnunet.io.volume import Geometry, Source, read_geometry, read_mask
from clisc_nnunet.metrics import dice
from clisc_nnunet.pipeline.slice_step import open_scan
from clisc_nnunet.quality_control.prompt_stability import JitterSettings, stability
from clisc_nnunet.s3f.dataset_slices import DatasetSlices
from clisc_nnunet.s3f.similarity import resegment
from clisc_nnunet.settings import SliceSettings
from clisc_nnunet.stages.connected_components import count_components
from clisc_nnunet.stages.sam.volume_segmenter import VolumeSegmenter
from clisc_nnunet.stages.slice_extraction import SliceStack, mask_on_slices

# Components of the score; each is higher for predictions that are more likely to be good.
MEASURES = ("similarity", "predicted_iou", "stability")


@dataclass(frozen=True)
class OpenedPrediction:
    """A prediction and the slices of its scan.

    Parameters
    ----------
    case : str
    stack : SliceStack
    mask : bool ndarray of shape stack.pixels.shape
        The prediction on the grid of the slices.
    volume_ml : float
    components : int
        Volume and number of components of the prediction on its own grid.
    kept_slices : bool
        Whether the slices are the stored ones of the pseudo-label.
    """

    case: str
    stack: SliceStack
    mask: np.ndarray
    volume_ml: float
    components: int
    kept_slices: bool = False

    @classmethod
    def of_mask(
        cls,
        case: str,
        stack: SliceStack,
        mask: np.ndarray,
        geometry: Geometry,
        *,
        kept_slices: bool = False,
    ) -> OpenedPrediction:
        """A prediction in memory; `mask` is bool, of shape geometry.shape."""
        return cls(
            case,
            stack,
            mask_on_slices(mask, geometry, stack),
            float(mask.sum()) * geometry.voxel_ml,
            count_components(mask),
            kept_slices,
        )


def open_prediction(
    case: str,
    image: Source,
    prediction: Path,
    settings: SliceSettings,
    brain_file: Path | None = None,
    kept: DatasetSlices | None = None,
) -> OpenedPrediction:
    """Read a scan and its prediction (voxels above 0).

    Parameters
    ----------
    case : str
    image : Path or Series
    prediction : Path
    settings : SliceSettings
    brain_file : Path, optional
        Brain mask to be used instead of brain extraction.
    kept : DatasetSlices, optional
        Stored slices, used if there are any of this scan.

    Raises
    ------
    ScanError
        If a file cannot be read, or the grids differ.
    """
    geometry = read_geometry(image)
    stack = None if kept is None else kept.find(case, geometry)
    stored = stack is not None
    if stack is None:
        stack = open_scan(image, settings, brain_file).stack
    mask = read_mask(prediction, geometry)
    return OpenedPrediction.of_mask(case, stack, mask, geometry, kept_slices=stored)


@dataclass(frozen=True)
class CaseQuality:
    """Quality estimate of a prediction.

    Parameters
    ----------
    case : str
    status : {'judged', 'empty', 'failed'}
        `judged`: scored; `empty`: empty prediction, ranked worst; `failed`: not ranked.
    reason : str
        Why a case is empty or has failed.
    rank : int or None
        1 is the least trusted.
    score : float or None
        0 to 1; see `trust_score`. Not an estimate of Dice.
    similarity : float or None
        Dice of the prediction and SAM's segmentation prompted with it.
    predicted_iou : float or None
        IoU of its segmentation as predicted by SAM.
    stability : float or None
        Mean Dice of SAM's segmentations for jittered prompts.
    volume_ml, answer_ml : float
        Volume of the prediction and of SAM's segmentation.
    components : int
        Number of connected components of the prediction.
    """

    case: str
    status: Literal["judged", "empty", "failed"]
    reason: str = ""
    rank: int | None = None
    score: float | None = None
    similarity: float | None = None
    predicted_iou: float | None = None
    stability: float | None = None
    volume_ml: float = 0.0
    answer_ml: float = 0.0
    components: int = 0


@dataclass(frozen=True)
class View:
    """A slice with the masks of prediction and SAM; pixels uint8, masks bool, (row, column)."""

    title: str
    pixels: np.ndarray
    prediction: np.ndarray
    answer: np.ndarray


def score_prediction(
    segmenter: VolumeSegmenter, opened: OpenedPrediction, jitter: JitterSettings
) -> tuple[CaseQuality, list[View]]:
    """Compare a prediction with SAM's segmentation.

    Returns
    -------
    quality : CaseQuality
        Without rank and score, which `rank_cases` adds.
    views : list of View
        The slice with the largest area, and the one with the largest difference.
    """
    case, stack, mask = opened.case, opened.stack, opened.mask
    if not mask.any():
        reason = "the prediction is empty"
        if opened.volume_ml:
            reason = f"the prediction is too small to show on a slice ({opened.volume_ml:.2g} ml)"
        found = CaseQuality(
            case, "empty", reason, volume_ml=opened.volume_ml, components=opened.components
        )
        return found, representative_views(stack.pixels, mask, mask)
    drawn = resegment(segmenter, case, stack, mask)
    found = CaseQuality(
        case,
        "judged",
        similarity=dice(mask, drawn.mask, both_empty=1.0),
        predicted_iou=drawn.predicted_iou,
        stability=stability(segmenter, case, stack, mask, jitter),
        volume_ml=opened.volume_ml,
        answer_ml=float(drawn.mask.sum()) * stack.geometry.voxel_ml,
        components=opened.components,
    )
    return found, representative_views(stack.pixels, mask, drawn.mask)


def representative_views(
    pixels: np.ndarray, prediction: np.ndarray, drawn: np.ndarray
) -> list[View]:
    """One or two slices to show; arrays of shape (plane, row, column)."""
    sizes = prediction.sum(axis=(1, 2))
    planes = {int(sizes.argmax()) if sizes.any() else len(pixels) // 2: "largest area"}
    if not sizes.any():
        planes = {len(pixels) // 2: "middle of the head"}
    differences = (prediction ^ drawn).sum(axis=(1, 2))
    if differences.any():
        planes.setdefault(int(differences.argmax()), "largest difference")
    return [
        View(title, pixels[plane], prediction[plane], drawn[plane])
        for plane, title in planes.items()
    ]


def rank_cases(cases: Sequence[CaseQuality]) -> list[CaseQuality]:
    """Sort by trust score, least trusted first; failed cases come last, without a rank.

    Notes
    -----
    Empty predictions have a score of 0 and come first.
    """
    scored = [
        replace(case, score=trust_score(case) if case.status == "judged" else 0.0)
        for case in cases
        if case.status != "failed"
    ]
    order = sorted(scored, key=lambda c: (c.status != "empty", c.score, c.case))
    ranked = [replace(c, rank=number) for number, c in enumerate(order, 1)]
    failed = sorted((c for c in cases if c.status == "failed"), key=lambda c: c.case)
    return [*ranked, *failed]


def trust_score(case: CaseQuality) -> float:
    """Score of a case: the product of `MEASURES`, each clipped to 0..1.

    Notes
    -----
    Predicted IoU and stability indicate whether SAM's segmentation is reliable; similarity,
    whether the prediction agrees with it. A product requires all three: a confident SAM that
    disagrees is evidence against a prediction, whereas a mean of values or ranks would reward the
    confidence. Chosen on phantoms with corrupted labels (docs/lab_notebook.md); has no weights to
    tune.
    """
    values = [getattr(case, name) for name in MEASURES]
    return float(np.prod(np.clip(values, 0.0, 1.0)))
