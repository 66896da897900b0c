"""S3F at prediction time: which predictions to trust, without labels.

The trainer's rounds ask SAM whether it would draw what the network predicts, and set the cases
aside where it would not. Here the same question is asked of finished predictions, to rank them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from clisc_nnunet.io.volume import Source, read_geometry, read_mask
from clisc_nnunet.metrics import dice
from clisc_nnunet.pipeline.slice_step import open_scan
from clisc_nnunet.quality_control.prompt_stability import JitterSettings, stability
from clisc_nnunet.s3f.dataset_slices import DatasetSlices
from clisc_nnunet.s3f.similarity import answer
from clisc_nnunet.settings import SliceSettings
from clisc_nnunet.stages.connected_components import count_components
from clisc_nnunet.stages.sam.volume_segmenter import VolumeSegmenter
from clisc_nnunet.stages.slice_extraction import SliceStack, mask_on_slices

# What a score is made of; each is higher where a prediction is likelier to be good.
MEASURES = ("similarity", "predicted_iou", "stability")


@dataclass(frozen=True)
class OpenedPrediction:
    """A prediction beside its scan.

    Parameters
    ----------
    case : str
    stack : SliceStack
    mask : bool ndarray of shape stack.pixels.shape
    volume_ml : float
    components : int
        Both of the prediction as it was written.
    kept_slices : bool
        The slices are those that the scan's label was drawn on.
    """

    case: str
    stack: SliceStack
    mask: np.ndarray
    volume_ml: float
    components: int
    kept_slices: bool = False


def open_prediction(
    case: str,
    image: Source,
    prediction: Path,
    settings: SliceSettings,
    brain_file: Path | None = None,
    kept: DatasetSlices | None = None,
) -> OpenedPrediction:
    """Read a scan and what was predicted for it (voxels above 0).

    Parameters
    ----------
    case : str
    image : Path or Series
    prediction : Path
    settings : SliceSettings
    brain_file : Path, optional
        A mask that takes the place of the extracted brain.
    kept : KeptSlices, optional
        If it has slices of this scan, no others are cut.

    Raises
    ------
    ScanError
        If one of the two cannot be read, or their grids differ.
    """
    geometry = read_geometry(image)
    stack = None if kept is None else kept.find(case, geometry)
    known = stack is not None
    if stack is None:
        stack = open_scan(image, settings, brain_file).stack
    mask = read_mask(prediction, geometry)
    return OpenedPrediction(
        case,
        stack,
        mask_on_slices(mask, geometry, stack),
        float(mask.sum()) * geometry.voxel_ml,
        count_components(mask),
        known,
    )


@dataclass(frozen=True)
class CaseQuality:
    """What a prediction is worth, as far as SAM can tell.

    Parameters
    ----------
    case : str
    status : str
        `judged`; `empty`: there is nothing to judge, ranked worst; `failed`: not ranked.
    reason : str
        Why a case is empty or has failed.
    rank : int or None
        1 is the least trusted.
    score : float or None
        0 to 1; see `trust`. No estimate of Dice.
    similarity : float or None
        Dice of prediction and SAM's answer to it.
    predicted_iou : float or None
        SAM's own estimate of its answer.
    stability : float or None
        Mean Dice of SAM's answers to jittered prompts.
    volume_ml, answer_ml : float
        Of prediction and answer.
    components : int
        Of the prediction.
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
    """One slice with both outlines; arrays of shape (row, column), pixels uint8, masks bool."""

    title: str
    pixels: np.ndarray
    prediction: np.ndarray
    answer: np.ndarray


def score_prediction(
    segmenter: VolumeSegmenter, opened: OpenedPrediction, jitter: JitterSettings
) -> tuple[CaseQuality, list[View]]:
    """Ask SAM about one prediction.

    Returns
    -------
    quality : CaseQuality
        Without rank and score, which only all cases together give.
    views : list of View
        The slice with the largest prediction, and the one where both differ most.
    """
    case, stack, mask = opened.case, opened.stack, opened.mask
    if not mask.any():
        reason = "the prediction is empty"
        if opened.volume_ml:
            reason = f"the prediction is too small to show on a slice ({opened.volume_ml:.2g} ml)"
        found = CaseQuality(
            case, "empty", reason, volume_ml=opened.volume_ml, components=opened.components
        )
        return found, telling_views(stack.pixels, mask, mask)
    drawn = answer(segmenter, case, stack, mask)
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
    return found, telling_views(stack.pixels, mask, drawn.mask)


def telling_views(pixels: np.ndarray, prediction: np.ndarray, drawn: np.ndarray) -> list[View]:
    """Slices worth a look, one or two; arrays of shape (plane, row, column)."""
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
    """Rank and score of each case, the least trusted first; failed ones last, without a rank.

    Notes
    -----
    Empty predictions score 0 and come before all others.
    """
    scored = [
        replace(case, score=trust(case) if case.status == "judged" else 0.0)
        for case in cases
        if case.status != "failed"
    ]
    order = sorted(scored, key=lambda c: (c.status != "empty", c.score, c.case))
    ranked = [replace(c, rank=number) for number, c in enumerate(order, 1)]
    failed = sorted((c for c in cases if c.status == "failed"), key=lambda c: c.case)
    return [*ranked, *failed]


def trust(case: CaseQuality) -> float:
    """Score of a judged case: the product of `MEASURES`, each cut to 0..1.

    Notes
    -----
    The measures are links of one chain. SAM's own estimate and its stability tell whether its
    answer can be relied on, the similarity whether the prediction is like that answer; where one
    link is weak, the others cannot make up for it. A sure SAM that draws something else denies a
    prediction, and a mean, of values or of ranks, would praise it for being sure. The choice was
    made on phantoms with spoilt labels (docs/results.md), and there are no weights to tune.
    """
    values = [getattr(case, name) for name in MEASURES]
    return float(np.prod(np.clip(values, 0.0, 1.0)))
