"""The work that touches scan files, one case at a time; it runs in processes of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from clisc_nnunet.brain_extraction import brain_to_see
from clisc_nnunet.errors import ScanError
from clisc_nnunet.models.weights import read_card
from clisc_nnunet.pseudo_label import OUTSIDE_LOGIT, case_iou, draw_label, stack_masks
from clisc_nnunet.records import Masks
from clisc_nnunet.settings import PseudoLabelSettings, SliceSettings
from clisc_nnunet.slices import (
    SliceStack,
    brain_mask,
    make_slices,
    read_brain_mask,
    to_scan_grid,
)
from clisc_nnunet.store import Recipe, Store
from clisc_nnunet.volume import (
    Geometry,
    Source,
    Volume,
    check_grid,
    read_geometry,
    read_volume,
    recording,
    scan_digest,
    write_volume,
)


def cut_scan(
    case: str,
    source: Source,
    settings: SliceSettings,
    store: Store,
    recipe: Recipe,
    brain_file: Path | None = None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Stage 1 for one case, into the store.

    Parameters
    ----------
    case : str
    source : Path or Series
    settings : SliceSettings
    store : Store
    recipe : Recipe
        What the result is signed with.
    brain_file : Path, optional
        A mask that takes the place of the extracted brain.

    Returns
    -------
    read : tuple of str
        Paths that were read.
    repairs : tuple of str
        What was mended in the header.

    Raises
    ------
    ScanError
        If the scan cannot be used.
    """
    with recording() as read:
        opened = open_scan(source, settings, brain_file)
    share = np.array(opened.brain.sum() / brain_mask(opened.scan.array).sum(), np.float32)
    found = {"brain_share": share, "scan": pack_geometry(opened.scan.geometry)}
    store.save(case, "slices", recipe, {**pack_stack(opened.stack), **found})
    return tuple(read), opened.scan.repairs


def slices_recipe(digest: str, settings: SliceSettings, brain_file: Path | None) -> Recipe:
    """What the slices of a scan of this digest are made from.

    Raises
    ------
    ScanError
        If there is no such file of the brain, or it cannot be read.
    """
    brain = None
    if brain_file is not None:
        if not brain_file.is_file():
            cure = "add it, or leave the case out"
            raise ScanError(brain_file, "no such file", "a brain mask for each case", cure)
        brain = scan_digest(brain_file)
    elif settings.brain == "extracted":
        brain = read_card("brain")["sha256"]
    return Recipe(digest, settings, brain)


def check_channels(
    case: str, prompt: Source, others: Sequence[Source], store: Store, recipe: Recipe
) -> tuple[str, ...]:
    """Beside stage 1: read the further channels of a case, at which no stage looks.

    Parameters
    ----------
    case : str
    prompt : Path or Series
        The scan that the stages look at.
    others : sequence of (Path or Series)
        Must be whole and lie on the voxels of `prompt`.
    store : Store
        Keeps that they do, so that they are read again only when one has changed.
    recipe : Recipe

    Returns
    -------
    tuple of str
        Paths that were read.

    Raises
    ------
    ScanError
        If one cannot be used.
    """
    grid = read_geometry(prompt)
    with recording() as read:
        for other in others:
            check_grid(other, read_volume(other).geometry, grid)
    store.save(case, "channels", recipe, {})
    return tuple(read)


@dataclass(frozen=True)
class OpenedScan:
    """A scan, the voxels of it that the stages look at (bool), and its slices."""

    scan: Volume
    brain: np.ndarray
    stack: SliceStack


def open_scan(
    source: Source, settings: SliceSettings, brain_file: Path | None = None
) -> OpenedScan:
    """Read a scan and cut its slices (stage 1).

    Raises
    ------
    ScanError
        If it cannot be read, or shows no brain.
    """
    scan = read_volume(source)
    brain = _brain(scan, settings, brain_file)
    stack = make_slices(scan, settings, brain)
    if not len(stack.planes_with_brain):
        raise ScanError(source, "no plane with brain", "a brain", "check this scan")
    return OpenedScan(scan, brain, stack)


def _brain(scan: Volume, settings: SliceSettings, brain_file: Path | None) -> np.ndarray:
    if brain_file is not None:
        return read_brain_mask(brain_file, scan.geometry)
    return brain_to_see(scan, settings)


def pack_stack(stack: SliceStack) -> dict[str, np.ndarray]:
    """Slices as plain arrays for the store."""
    return {
        "pixels": stack.pixels,
        "brain": np.packbits(stack.brain),
        "geometry": pack_geometry(stack.geometry),
    }


def unpack_stack(arrays: dict[str, np.ndarray]) -> SliceStack:
    """Inverse of `pack_stack`."""
    pixels = arrays["pixels"]
    brain = np.unpackbits(arrays["brain"], count=pixels.size).reshape(pixels.shape).astype(bool)
    return SliceStack(pixels, brain, unpack_geometry(arrays["geometry"]))


def pack_geometry(geometry: Geometry) -> np.ndarray:
    """A geometry as an array for the store: JSON."""
    return np.array(json.dumps(asdict(geometry)))


def unpack_geometry(packed: np.ndarray) -> Geometry:
    """Inverse of `pack_geometry`."""
    return Geometry(**{key: tuple(value) for key, value in json.loads(str(packed)).items()})


@dataclass(frozen=True)
class DrawTask:
    """Everything that stage 11 needs of a case; results of earlier stages by (stage, signature)."""

    case: str
    scan: Source
    store: Store
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
    stack = unpack_stack(task.store.require(task.case, *task.slices))
    drawn = task.store.require(task.case, *task.masks)
    found = task.store.require(task.case, *task.region)
    with recording() as read:
        scan = read_volume(task.scan)
    masks = Masks(drawn["logits"].astype(np.float32), drawn["predicted_iou"])
    logits = stack_masks(masks, drawn["planes"], stack.pixels.shape)
    if case_iou(masks) < task.settings.min_case_iou:
        logits = np.full_like(logits, OUTSIDE_LOGIT)
    brain = _brain(scan, task.slice_settings, task.brain_file)
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
