"""What the pictures show of a case: slice, CAM, region, prompts and pseudo-label of some planes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clisc_nnunet.pipeline.case_result import CaseOutcome
from clisc_nnunet.pipeline.run_results import RunResults
from clisc_nnunet.stages.pseudo_label import fill_holes
from clisc_nnunet.stages.sam.prompts import make_prompts
from clisc_nnunet.stages.sam.types import Masks, Prompts, stack_masks

# Okabe and Ito's palette: told apart by people with any kind of colour vision.
ROI_COLOUR, LABEL_COLOUR, POSITIVE, NEGATIVE = "#e69f00", "#56b4e9", "#f0e442", "#cc79a7"
# What SAM drew, but was not sure of: the case has no label.
REJECTED_COLOUR = "#b8b8b8"


@dataclass(frozen=True)
class PlaneView:
    """One plane of a case; arrays (row, column).

    Parameters
    ----------
    plane : int
        Counted from 0, inferior to superior, in the models' slices.
    pixels : uint8 ndarray
    cam : float32 ndarray
        0..1.
    roi, label : bool ndarray
    prompts : Prompts or None
        Of this slice; None where there is no region.
    rejected : bool
        `label` is what SAM drew, but the case is left without one.
    """

    plane: int
    pixels: np.ndarray
    cam: np.ndarray
    roi: np.ndarray
    label: np.ndarray
    prompts: Prompts | None
    rejected: bool = False


def plane_views(results: RunResults, outcome: CaseOutcome, count: int = 1) -> list[PlaneView]:
    """The most telling plane of a case, and others above and below it.

    Parameters
    ----------
    results : RunResults
        After its last stage.
    outcome : CaseOutcome
        Of a case that did not fail.
    count : int
        At most so many planes.

    Returns
    -------
    list of PlaneView
        The most telling plane first, then the others from inferior to superior.
    """
    case, settings = outcome.case, results.config.settings
    stage = "raw" if settings.masking.mode == "off" else "enhanced"
    pixels, region = results.stack(case).pixels, results.region(case, stage)
    logits = _logits(results, case, pixels.shape)
    labels = results.arrays(case, "labels")
    seen, probability = labels["planes"], labels["probability"]
    first = telling_plane(logits > 0, region, seen, probability)
    shown = planes_round(first, logits > 0, region, seen, count)

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


def telling_plane(
    label: np.ndarray, region: np.ndarray, seen: np.ndarray, probability: np.ndarray
) -> int:
    """Plane of the largest label, else of the largest region, else the likeliest one for CLIP.

    Parameters
    ----------
    label, region : bool ndarray of shape (plane, row, column)
    seen : int ndarray of shape (n,)
        Planes with brain.
    probability : float ndarray of shape (n,)
        CLIP's, of a tumour in each.
    """
    for mask in (label, region):
        if mask.any():
            return int(mask.sum(axis=(1, 2)).argmax())
    likely = seen[probability == probability.max()]
    return int(likely[len(likely) // 2])  # given labels are often equal in all planes


def planes_round(
    first: int, label: np.ndarray, region: np.ndarray, seen: np.ndarray, count: int
) -> list[int]:
    """Planes spread evenly over the label, else the region, else the brain.

    Parameters
    ----------
    first : int
        Always among them, in place of the one that is nearest to it.
    label, region, seen
        As for `telling_plane`.
    count : int

    Returns
    -------
    list of int
        At most `count`, in order.
    """
    masked = (np.flatnonzero(mask.any(axis=(1, 2))) for mask in (label, region))
    planes = next((found for found in masked if len(found)), seen)
    # The first and the last plane hardly show anything: the middles of equal parts do.
    middles = (np.arange(count) + 0.5) / count * len(planes)
    chosen = planes[np.unique(middles.astype(int))]
    chosen[np.abs(chosen - first).argmin()] = first
    return sorted(set(chosen.tolist()))


def _logits(results: RunResults, case: str, shape: tuple[int, int, int]) -> np.ndarray:
    """What SAM drew on the models' slices, float32 (plane, row, column)."""
    kept = results.arrays(case, "masks")
    masks = Masks(kept["logits"].astype(np.float32), kept["predicted_iou"])
    return stack_masks(masks, kept["planes"], shape)
