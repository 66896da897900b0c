"""The work that touches scan files, one case at a time; it runs in processes of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.volume import (
    Source,
    Volume,
    check_grid,
    read_geometry,
    read_volume,
    recording,
    scan_digest,
)
from clisc_nnunet.models.weights import read_card
from clisc_nnunet.pipeline.result_cache import Fingerprint, ResultCache
from clisc_nnunet.pipeline.serialization import (
    pack_geometry,
    pack_stack,
)
from clisc_nnunet.settings import SliceSettings
from clisc_nnunet.stages.brain_extraction import extract_brain, read_brain_mask
from clisc_nnunet.stages.slice_extraction import SliceStack, brain_mask, make_slices


def cut_scan(
    case: str,
    source: Source,
    settings: SliceSettings,
    cache: ResultCache,
    fingerprint: Fingerprint,
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
    cache.save(case, "slices", fingerprint, {**pack_stack(opened.stack), **found})
    return tuple(read), opened.scan.repairs


def slices_fingerprint(
    digest: str, settings: SliceSettings, brain_file: Path | None
) -> Fingerprint:
    """What the slices of a scan of this digest are made from.

    Raises
    ------
    ScanError
        If there is no such file of the brain, or it cannot be read.
    """
    brain = None
    if brain_file is not None:
        if not brain_file.is_file():
            hint = "add it, or leave the case out"
            raise ScanError(brain_file, "no such file", "a brain mask for each case", hint)
        brain = scan_digest(brain_file)
    elif settings.brain == "extracted":
        brain = read_card("brain")["sha256"]
    return Fingerprint(digest, settings, brain)


def check_channels(
    case: str,
    prompt: Source,
    others: Sequence[Source],
    cache: ResultCache,
    fingerprint: Fingerprint,
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
    cache.save(case, "channels", fingerprint, {})
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
    brain = brain_of_scan(scan, settings, brain_file)
    stack = make_slices(scan, settings, brain)
    if not len(stack.planes_with_brain):
        raise ScanError(source, "no plane with brain", "a brain", "check this scan")
    return OpenedScan(scan, brain, stack)


def brain_of_scan(scan: Volume, settings: SliceSettings, brain_file: Path | None) -> np.ndarray:
    """Voxels that the stages look at: those of a given mask, or of the extracted brain."""
    if brain_file is not None:
        return read_brain_mask(brain_file, scan.geometry)
    return extract_brain(scan, settings)
