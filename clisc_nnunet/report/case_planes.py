"""Planes of a case for pictures: slice, CAM, region, prompts and pseudo-label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clisc_nnunet.pipeline.case_result import CaseOutcome
from clisc_nnunet.pipeline.run_results import RunResults
from clisc_nnunet.stages.pseudo_label import fill_holes
from clisc_nnunet.stages.sam.mask_stacking import stack_masks
from clisc_nnunet.stages.sam.prompts import make_prompts
from clisc_nnunet.stages.sam.prompts_and_masks import Masks, Prompts

# Okabe and Ito's palette, distinguishable with all kinds of colour vision.
ROI_COLOUR, LABEL_COLOUR, POSITIVE, NEGATIVE = "#e69f00", "#56b4e9", "#f0e442", "#cc79a7"
# Masks with a low predicted IoU; the case has no label.
REJECTED_COLOUR = "#b8b8b8"


@dataclass(frozen=True)
class PlaneView:
    """One plane of a case; arrays (row, column).

    Parameters
    ----------
    plane : int
        Index in the stack of slices, from inferior to superior.
    pixels : uint8 ndarray
    cam : float32 ndarray
        0..1.
    roi, label : bool ndarray
    prompts : Prompts or None
        Prompts of this slice; None without a region.
    rejected : bool
        `label` is SAM's mask, but the case has no label.
    """

    plane: int
    pixels: np.ndarray
    cam: np.ndarray
    roi: np.ndarray
    label: np.ndarray
    prompts: Prompts | None
    rejected: bool = False


def plane_views(results: RunResults, outcome: CaseOutcome, count: int = 1) -> list[PlaneView]:
    """Representative planes of a case.

    Parameters
    ----------
    results : RunResults
        After the last stage.
    outcome : CaseOutcome
        Outcome of a case that did not fail.
    count : int
        Largest number of planes.

    Returns
    -------
    list of PlaneView
        The most representative plane first, then the others from inferior to superior.
    """
    case, settings = outcome.case, results.config.settings
    stage = "raw" if settings.masking.mode == "off" else "enhanced"
    pixels, region = results.stack(case).pixels, results.region(case, stage)
    logits = _logits(results, case, pixels.shape)
    labels = results.arrays(case, "labels")
    seen, probability = labels["planes"], labels["probability"]
    first = representative_plane(logits > 0, region, seen, probability)
    shown = spread_planes(first, logits > 0, region, seen, count)

    found = results.arrays(case, f"{stage}_regions")
    views = []
    for plane in [first, *(plane for plane in shown if plane != first)]:
        cam = np.zeros(pixels.shape[1:], np.float32)
        at = np.flatnonzero(found["planes"] == plane)
        if len(at):
            cam = found["cam"][at[0]] / np.float32(255)
        drawn = logits[plane : plane + 1]
        label = (fill_holes(drawn) if settings.pseudo_label.fill_holes else drawn)[0] > 0
        prompts = None
        if region[plane].any():
            prompts = make_prompts(pixels[plane][None], region[plane][None], settings.prompts)
        views.append(
            PlaneView(
                plane,
                pixels[plane],
                cam,
                region[plane],
                label,
                prompts,
                rejected=outcome.status == "empty",
            )
        )
    return views


def representative_plane(
    label: np.ndarray, region: np.ndarray, seen: np.ndarray, probability: np.ndarray
) -> int:
    """Plane with the largest label, else the largest region, else CLIP's highest probability.

    Parameters
    ----------
    label, region : bool ndarray of shape (plane, row, column)
    seen : int ndarray of shape (n,)
        Planes with brain.
    probability : float ndarray of shape (n,)
        CLIP's probability of a tumour in these planes.
    """
    for mask in (label, region):
        if mask.any():
            return int(mask.sum(axis=(1, 2)).argmax())
    likely = seen[probability == probability.max()]
    return int(likely[len(likely) // 2])  # given labels are often the same in all planes


def spread_planes(
    first: int, label: np.ndarray, region: np.ndarray, seen: np.ndarray, count: int
) -> list[int]:
    """Planes spread evenly over the label, else the region, else the brain.

    Parameters
    ----------
    first : int
        Always included, instead of the plane closest to it.
    label, region, seen
        As for `representative_plane`.

    Returns
    -------
    list of int
        At most `count`, sorted.
    """
    masked = (np.flatnonzero(mask.any(axis=(1, 2))) for mask in (label, region))
    planes = next((found for found in masked if len(found)), seen)
    # The outermost planes show little, so the middles of equal parts are taken.
    middles = (np.arange(count) + 0.5) / count * len(planes)
    chosen = planes[np.unique(middles.astype(int))]
    chosen[np.abs(chosen - first).argmin()] = first
    return sorted(set(chosen.tolist()))


def _logits(results: RunResults, case: str, shape: tuple[int, int, int]) -> np.ndarray:
    """SAM's logits for all slices, float32 (plane, row, column)."""
    kept = results.arrays(case, "masks")
    masks = Masks(kept["logits"].astype(np.float32), kept["predicted_iou"])
    return stack_masks(masks, kept["planes"], shape)
