"""Stage 11 for one case: its label, CAM and region on the grid of the scan, and its outcome."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from clisc_nnunet.io.volume import read_volume, write_volume
from clisc_nnunet.pipeline.case_result import CaseOutcome, Status
from clisc_nnunet.pipeline.config import CaseInput, RunConfig
from clisc_nnunet.pipeline.label_placement import (
    RECORD,
    label_mismatch,
    place_label,
    unplaced_label,
)
from clisc_nnunet.pipeline.result_cache import Fingerprint
from clisc_nnunet.pipeline.run_step import CaseStep
from clisc_nnunet.pipeline.serialization import unpack_region, unpack_stack
from clisc_nnunet.pipeline.slice_step import brain_of_scan
from clisc_nnunet.stages.pseudo_label import make_pseudo_label
from clisc_nnunet.stages.sam.mask_stacking import OUTSIDE_LOGIT, case_iou, stack_masks
from clisc_nnunet.stages.sam.prompts_and_masks import Masks
from clisc_nnunet.stages.slice_classes import TUMOUR
from clisc_nnunet.stages.slice_extraction import to_scan_grid

Arrays = Mapping[str, np.ndarray]


def label_step(classifier: str) -> CaseStep:
    """Step of stage 11, for masks prompted by the regions of classifier `raw` or `enhanced`."""
    return CaseStep(
        RECORD,
        "labels",
        write_label,
        _label_fingerprint,
        ("slices", "labels", f"{classifier}_regions", "masks"),
        workers="scans",
        save=place_label,
        mismatch=label_mismatch,
    )


def write_label(
    config: RunConfig,
    case: CaseInput,
    slices: Arrays,
    labels: Arrays,
    regions: Arrays,
    masks: Arrays,
) -> CaseOutcome:
    """Write CAM, region and label of a case on the grid of its scan.

    The label is written into the cache; `place_label` moves it into the dataset.
    """
    settings = config.settings
    stack = unpack_stack(slices)
    scan = read_volume(case.scan)
    drawn = Masks(masks["logits"].astype(np.float32), masks["predicted_iou"])
    logits = stack_masks(drawn, masks["planes"], stack.pixels.shape)
    if case_iou(drawn) < settings.pseudo_label.min_case_iou:
        logits = np.full_like(logits, OUTSIDE_LOGIT)
    brain = brain_of_scan(scan, settings.slices, case.brain_mask)
    label = make_pseudo_label(logits, stack, scan.geometry, brain, settings.pseudo_label)

    cam = np.zeros(stack.pixels.shape, np.float32)
    cam[regions["planes"]] = regions["cam"]
    region = 255.0 * unpack_region(regions["roi"], cam.shape)
    moved = to_scan_grid(cam, stack, scan.geometry, outside=0.0)
    cam_image = np.rint(moved).clip(0, 255).astype(np.uint8)
    write_volume(config.dataset.cam(case.name), cam_image, scan.geometry)
    moved = to_scan_grid(region, stack, scan.geometry, outside=0.0)
    write_volume(config.dataset.roi(case.name), (moved >= 127.5).astype(np.uint8), scan.geometry)
    # Written last: if the label exists, the other files do too.
    write_volume(unplaced_label(config.cache, case.name), label, scan.geometry)
    volume_ml = float(label.sum()) * scan.geometry.voxel_ml
    min_iou = settings.pseudo_label.min_case_iou
    return describe(case.name, volume_ml, min_iou, slices, labels, regions, masks)


def describe(
    case: str,
    volume_ml: float,
    min_case_iou: float,
    slices: Arrays,
    labels: Arrays,
    regions: Arrays,
    masks: Arrays,
) -> CaseOutcome:
    """Outcome of a case from the volume of its label and the arrays of its stages."""
    predicted_iou = case_iou(Masks(masks["logits"], masks["predicted_iou"]))
    drawn = (masks["logits"] > 0).any(axis=(1, 2))
    status: Status = "empty"
    if volume_ml:
        status, reason = "labelled", f"SAM drew on {int(drawn.sum())} slices"
        if masks["second_opinion"]:
            reason += ", prompted by the whole brain (higher predicted IoU)"
    elif not len(regions["planes"]):
        reason = "the classifier finds a tumour in no slice"
    elif not len(masks["planes"]):
        reason = "no region of interest is left"
    elif drawn.any() and predicted_iou < min_case_iou:
        reason = f"SAM's predicted IoU is {predicted_iou:.2f}, below {min_case_iou:g}"
    else:
        reason = "SAM finds nothing in the regions"
    return CaseOutcome(
        case,
        status,
        reason,
        brain_share=float(slices["brain_share"]),
        slices=len(labels["planes"]),
        clip_tumour_slices=int((labels["voted"] == TUMOUR).sum()),
        classifier_tumour_slices=len(regions["planes"]),
        region_slices=len(masks["planes"]),
        label_ml=volume_ml,
        predicted_iou=predicted_iou,
        agreement=float(masks["agreement"][drawn].mean()) if drawn.any() else 0.0,
    )


def _label_fingerprint(
    config: RunConfig, case: CaseInput, signatures: tuple[str, ...]
) -> Fingerprint:
    return Fingerprint(list(signatures), (config.settings.pseudo_label, config.settings.slices))
