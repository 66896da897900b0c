"""Stage 11 on one case: its label put in place, with a record by which a person's hand is told.

A label whose hash no record knows was changed by somebody: it is theirs, and stays. Of such a
label nothing but the hash and the header is ever looked at here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.io.volume import (
    Source,
    read_volume,
    recording,
    write_volume,
)
from clisc_nnunet.pipeline.case_result import CaseOutcome, Status
from clisc_nnunet.pipeline.model_steps import Bench
from clisc_nnunet.pipeline.result_cache import Fingerprint, ResultCache
from clisc_nnunet.pipeline.serialization import unpack_stack
from clisc_nnunet.pipeline.slice_step import brain_of_scan
from clisc_nnunet.settings import PseudoLabelSettings, SliceSettings
from clisc_nnunet.stages.clip_labels import TUMOUR
from clisc_nnunet.stages.pseudo_label import make_pseudo_label
from clisc_nnunet.stages.sam.types import OUTSIDE_LOGIT, Masks, case_iou, stack_masks
from clisc_nnunet.stages.slice_extraction import to_scan_grid

RECORD = "label"


@dataclass(frozen=True)
class LabelTask:
    """Everything that stage 11 needs of a case and its record."""

    draw: DrawTask
    labels: tuple[str, str]
    fingerprint: Fingerprint


def label_task(
    bench: Bench,
    case: str,
    name: str,
    scan: Source,
    signatures: Mapping[tuple[str, str], str],
    labels_folder: Path,
    overlays: Path,
    brain_file: Path | None = None,
) -> LabelTask:
    """Task of a case whose regions are those of classifier `name`.

    Parameters
    ----------
    bench : Bench
    case, name : str
    scan : Path or Series
    signatures : mapping of (case, stage) to signature
        Of the results of earlier stages.
    labels_folder, overlays : Path
        Receive the label, and `cam/` and `roi/` volumes.
    brain_file : Path, optional
        A mask that takes the place of the extracted brain.
    """
    stages = ("slices", "labels", f"{name}_regions", "masks")
    slices, labels, region, masks = ((stage, signatures[case, stage]) for stage in stages)
    settings = bench.settings.pseudo_label, bench.settings.slices
    draw = DrawTask(
        case=case,
        scan=scan,
        cache=bench.cache,
        slices=slices,
        region=region,
        masks=masks,
        settings=settings[0],
        slice_settings=settings[1],
        label_file=labels_folder / f"{case}.nii.gz",
        cam_file=overlays / "cam" / f"{case}.nii.gz",
        roi_file=overlays / "roi" / f"{case}.nii.gz",
        brain_file=brain_file,
    )
    inputs = [signatures[case, stage] for stage in stages]
    return LabelTask(draw, labels, Fingerprint(inputs, settings))


def finish_case(task: LabelTask) -> tuple[CaseOutcome, tuple[str, ...]]:
    """Draw the label, CAM and region of a case, and put them in place.

    Returns
    -------
    CaseOutcome
        `trusted` where a person's label was found in the place, and stays.
    read : tuple of str
        Paths that were read.
    """
    draw, target = task.draw, task.draw.label_file
    cache, case = draw.cache, draw.case
    # Killed at any moment, a run leaves either a label whose hash the record has, or none.
    drawn = cache.root / case / "drawn_label.nii.gz"
    volume_ml, read = draw_case(replace(draw, label_file=drawn))
    outcome = describe(task, volume_ml)
    digest = file_sha256(drawn)
    written = [h for h in cache.read_record(case, RECORD).get("sha256", []) if h != digest]
    record = {"signature": task.fingerprint.signature, "recipe": task.fingerprint.text}
    content = {**record, "sha256": [*written, digest], "outcome": asdict(outcome)}
    cache.write_record(case, RECORD, content)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Somebody may have corrected it since the run began.
    if target.is_file() and not written_by_us(cache, case, target):
        drawn.unlink()
        return corrected(case), read
    os.replace(drawn, target)
    return outcome, read


def mismatch(
    cache: ResultCache, fingerprint: Fingerprint, draw: DrawTask, *, empty_labels: bool
) -> str | None:
    """Why a label is to be drawn, as `Store.mismatch` says it.

    Parameters
    ----------
    store : Store
    recipe : Recipe
    draw : DrawTask
        Says which files must be there.
    empty_labels : bool
        Whether cases without a tumour have a label, too.
    """
    record = cache.read_record(draw.case, RECORD)
    if not record:
        return ""
    if record.get("signature") != fingerprint.signature:
        return fingerprint.changes(str(record.get("recipe", ""))) or "another signature"
    label = draw.label_file
    wanted = empty_labels or record["outcome"]["status"] != "empty"
    there = label.is_file() and file_sha256(label) == record["sha256"][-1]
    if not draw.cam_file.is_file() or not draw.roi_file.is_file() or (wanted and not there):
        return "a file that is gone"
    return None


def recorded_outcome(cache: ResultCache, case: str) -> CaseOutcome:
    """Outcome of a case whose label is kept."""
    return CaseOutcome(**cache.read_record(case, RECORD)["outcome"])


def corrected(case: str) -> CaseOutcome:
    """Outcome of a case whose label somebody has changed in `labelsTr`."""
    return CaseOutcome(case, "trusted", "label corrected by a person")


def written_by_us(cache: ResultCache, case: str, label: Path) -> bool:
    """Whether a label is one that a run has drawn, now or earlier."""
    return file_sha256(label) in cache.read_record(case, RECORD).get("sha256", [])


def describe(task: LabelTask, volume_ml: float) -> CaseOutcome:
    """What became of a case whose label has this volume."""
    draw = task.draw
    labels, regions, masks, slices = (
        draw.cache.require(draw.case, *at)
        for at in (task.labels, draw.region, draw.masks, draw.slices)
    )
    predicted_iou = case_iou(Masks(masks["logits"], masks["predicted_iou"]))
    asked = draw.settings.min_case_iou
    drawn = (masks["logits"] > 0).any(axis=(1, 2))
    status: Status = "empty"
    if volume_ml:
        status, reason = "labelled", f"SAM drew on {int(drawn.sum())} slices"
        if masks["second_opinion"]:
            reason += ", from the whole brain: of the region it was less sure"
    elif not len(regions["planes"]):
        reason = "the classifier calls no slice a tumour"
    elif not len(masks["planes"]):
        reason = "no region of interest is left"
    elif drawn.any() and predicted_iou < asked:
        reason = f"SAM is not sure of what it drew ({predicted_iou:.2f}, {asked:g} or more)"
    else:
        reason = "SAM draws nothing in the regions"
    return CaseOutcome(
        draw.case,
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


@dataclass(frozen=True)
class DrawTask:
    """Everything that stage 11 needs of a case; results of earlier stages by (stage, signature)."""

    case: str
    scan: Source
    cache: ResultCache
    slices: tuple[str, str]
    region: tuple[str, str]
    masks: tuple[str, str]
    settings: PseudoLabelSettings
    slice_settings: SliceSettings
    label_file: Path
    cam_file: Path
    roi_file: Path
    brain_file: Path | None = None


def draw_case(task: DrawTask) -> tuple[float, tuple[str, ...]]:
    """Stage 11 for one case: write label, CAM and region on the scan's grid.

    Returns
    -------
    volume : float
        Of the label, in millilitres.
    read : tuple of str
        Paths that were read.
    """
    stack = unpack_stack(task.cache.require(task.case, *task.slices))
    drawn = task.cache.require(task.case, *task.masks)
    found = task.cache.require(task.case, *task.region)
    with recording() as read:
        scan = read_volume(task.scan)
    masks = Masks(drawn["logits"].astype(np.float32), drawn["predicted_iou"])
    logits = stack_masks(masks, drawn["planes"], stack.pixels.shape)
    if case_iou(masks) < task.settings.min_case_iou:
        logits = np.full_like(logits, OUTSIDE_LOGIT)
    brain = brain_of_scan(scan, task.slice_settings, task.brain_file)
    label = make_pseudo_label(logits, stack, scan.geometry, brain, task.settings)

    cam = np.zeros(stack.pixels.shape, np.float32)
    cam[found["planes"]] = found["cam"]
    region = np.unpackbits(found["roi"], count=cam.size).reshape(cam.shape)
    for path, array in ((task.cam_file, cam), (task.roi_file, 255.0 * region)):
        moved = to_scan_grid(array, stack, scan.geometry, outside=0.0)
        image = moved >= 127.5 if path is task.roi_file else np.rint(moved).clip(0, 255)
        write_volume(path, image.astype(np.uint8), scan.geometry)
    # The label comes last: where it is, the case is done.
    write_volume(task.label_file, label, scan.geometry)
    return float(label.sum()) * scan.geometry.voxel_ml, tuple(read)
