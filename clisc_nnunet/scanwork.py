"""The work that touches scan files, one case at a time; it runs in processes of its own."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from clisc_nnunet.brain_extraction import brain_to_see
from clisc_nnunet.errors import ScanError
from clisc_nnunet.pseudo_label import OUTSIDE_LOGIT, case_iou, draw_label, stack_masks
from clisc_nnunet.records import Masks
from clisc_nnunet.settings import PseudoLabelSettings, SliceSettings
from clisc_nnunet.slices import SliceStack, brain_mask, make_slices, to_scan_grid
from clisc_nnunet.store import Recipe, Store
from clisc_nnunet.volume import Geometry, Volume, read_volume, recording, write_volume


def cut_scan(
    case: str, path: Path, settings: SliceSettings, store: Store, recipe: Recipe
) -> tuple[str, ...]:
    """Stage 1 for one case, into the store; returns the paths that were read.

    Raises
    ------
    ScanError
        If the scan cannot be used.
    """
    with recording() as read:
        opened = open_scan(path, settings)
    share = np.array(opened.brain.sum() / brain_mask(opened.scan.array).sum(), np.float32)
    store.save(case, "slices", recipe, {**pack_stack(opened.stack), "brain_share": share})
    return tuple(read)


@dataclass(frozen=True)
class OpenedScan:
    """A scan, the voxels of it that the stages look at (bool), and its slices."""

    scan: Volume
    brain: np.ndarray
    stack: SliceStack


def open_scan(path: Path, settings: SliceSettings) -> OpenedScan:
    """Read a scan and cut its slices (stage 1).

    Raises
    ------
    ScanError
        If it cannot be read, or shows no brain.
    """
    scan = read_volume(path)
    brain = brain_to_see(scan, settings)
    stack = make_slices(scan, settings, brain)
    if not len(stack.planes_with_brain):
        raise ScanError(path, "no plane with brain", "a brain", "check this scan")
    return OpenedScan(scan, brain, stack)


def pack_stack(stack: SliceStack) -> dict[str, np.ndarray]:
    """Slices as plain arrays for the store."""
    geometry = json.dumps(asdict(stack.geometry))
    return {
        "pixels": stack.pixels,
        "brain": np.packbits(stack.brain),
        "geometry": np.array(geometry),
    }


def unpack_stack(arrays: dict[str, np.ndarray]) -> SliceStack:
    """Inverse of `pack_stack`."""
    pixels = arrays["pixels"]
    brain = np.unpackbits(arrays["brain"], count=pixels.size).reshape(pixels.shape).astype(bool)
    values = json.loads(str(arrays["geometry"]))
    return SliceStack(pixels, brain, Geometry(**{k: tuple(v) for k, v in values.items()}))


@dataclass(frozen=True)
class DrawTask:
    """Everything that stage 11 needs of a case; results of earlier stages by (stage, signature)."""

    case: str
    scan: Path
    store: Store
    slices: tuple[str, str]
    region: tuple[str, str]
    masks: tuple[str, str]
    settings: PseudoLabelSettings
    slice_settings: SliceSettings
    label_file: Path
    cam_file: Path
    roi_file: Path


def draw_case(task: DrawTask) -> tuple[float, tuple[str, ...]]:
    """Stage 11 for one case: write label, CAM and region on the scan's grid.

    Returns
    -------
    volume : float
        Of the label, in millilitres.
    read : tuple of str
        Paths that were read.
    """
    stack = unpack_stack(task.store.require(task.case, *task.slices))
    drawn = task.store.require(task.case, *task.masks)
    found = task.store.require(task.case, *task.region)
    with recording() as read:
        scan = read_volume(task.scan)
    masks = Masks(drawn["logits"].astype(np.float32), drawn["predicted_iou"])
    logits = stack_masks(masks, drawn["planes"], stack.pixels.shape)
    if case_iou(masks) < task.settings.min_case_iou:
        logits = np.full_like(logits, OUTSIDE_LOGIT)
    brain = brain_to_see(scan, task.slice_settings)
    label = draw_label(logits, stack, scan.geometry, brain, task.settings)

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
