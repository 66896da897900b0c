"""Stage 11 for one case: write its label and store its hash, so that manual edits are detected.

A label with an unknown hash was edited by a person and is never overwritten. Only the hash and the
header of such a label are read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.io.volume import read_volume, write_volume
from clisc_nnunet.pipeline.case_result import CaseOutcome, Status
from clisc_nnunet.pipeline.case_steps import CaseStep
from clisc_nnunet.pipeline.config import CaseInput, RunConfig
from clisc_nnunet.pipeline.result_cache import Fingerprint, ResultCache
from clisc_nnunet.pipeline.serialization import unpack_region, unpack_stack
from clisc_nnunet.pipeline.slice_step import brain_of_scan
from clisc_nnunet.stages.pseudo_label import make_pseudo_label
from clisc_nnunet.stages.sam.types import OUTSIDE_LOGIT, Masks, case_iou, stack_masks
from clisc_nnunet.stages.slice_classes import TUMOUR
from clisc_nnunet.stages.slice_extraction import to_scan_grid

RECORD = "label"

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
    write_volume(_unplaced_label(config.cache, case.name), label, scan.geometry)
    volume_ml = float(label.sum()) * scan.geometry.voxel_ml
    min_iou = settings.pseudo_label.min_case_iou
    return describe(case.name, volume_ml, min_iou, slices, labels, regions, masks)


def place_label(
    config: RunConfig, case: CaseInput, stage: str, fingerprint: Fingerprint, outcome: CaseOutcome
) -> CaseOutcome:
    """Record the hash of a written label, then move it into the dataset.

    Returns
    -------
    CaseOutcome
        `trusted` if the dataset contains a label edited by a person, which is left unchanged.
    """
    cache, target = config.cache, config.dataset.label(case.name)
    written = _unplaced_label(cache, case.name)
    # If the run is killed at any point, either the hash of the label is recorded or it is missing.
    digest = file_sha256(written)
    record = cache.read_record(case.name, stage)
    earlier = [hash_ for hash_ in record.get("sha256", []) if hash_ != digest]
    content = {
        "signature": fingerprint.signature,
        "recipe": fingerprint.text,
        "sha256": [*earlier, digest],
        "outcome": asdict(outcome),
    }
    cache.write_record(case.name, stage, content)
    target.parent.mkdir(parents=True, exist_ok=True)
    # It may have been edited since the run started.
    if target.is_file() and not written_by_us(cache, case.name, target):
        written.unlink()
        return corrected_outcome(case.name)
    os.replace(written, target)
    return outcome


def label_mismatch(
    config: RunConfig, case: CaseInput, stage: str, fingerprint: Fingerprint
) -> str | None:
    """Reason to write a label again, or None; see `ResultCache.mismatch`."""
    record = config.cache.read_record(case.name, stage)
    if not record:
        return ""
    if record.get("signature") != fingerprint.signature:
        return fingerprint.changes(str(record.get("recipe", ""))) or "another signature"
    label = config.dataset.label(case.name)
    wanted = config.empty_labels or record["outcome"]["status"] != "empty"
    there = label.is_file() and file_sha256(label) == record["sha256"][-1]
    overlays = config.dataset.cam(case.name), config.dataset.roi(case.name)
    if not all(path.is_file() for path in overlays) or (wanted and not there):
        return "a missing file"
    return None


def recorded_outcome(cache: ResultCache, case: str) -> CaseOutcome:
    """Outcome of a case whose label is reused."""
    return CaseOutcome(**cache.read_record(case, RECORD)["outcome"])


def corrected_outcome(case: str) -> CaseOutcome:
    """Outcome of a case whose label was edited by a person in `labelsTr`."""
    return CaseOutcome(case, "trusted", "label corrected by a person")


def written_by_us(cache: ResultCache, case: str, label: Path) -> bool:
    """Whether a label was written by this or an earlier run, and not edited since."""
    return file_sha256(label) in cache.read_record(case, RECORD).get("sha256", [])


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


def _unplaced_label(cache: ResultCache, case: str) -> Path:
    return cache.root / case / "drawn_label.nii.gz"
