"""Stage 1 for one case: read its scans and extract the slices; runs in worker processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clisc_nnunet.errors import ScanError, one_line
from clisc_nnunet.io.volume import (
    Source,
    Volume,
    check_grid,
    read_geometry,
    read_volume,
    scan_digest,
)
from clisc_nnunet.models.weights import read_card
from clisc_nnunet.pipeline.config import CaseInput, RunConfig
from clisc_nnunet.pipeline.result_cache import Fingerprint
from clisc_nnunet.pipeline.run_step import CaseStep, save_arrays
from clisc_nnunet.pipeline.serialization import pack_geometry, pack_stack
from clisc_nnunet.settings import SliceSettings
from clisc_nnunet.stages.brain_extraction import extract_brain, read_brain_mask
from clisc_nnunet.stages.slice_extraction import SliceStack, foreground_mask, make_slices


@dataclass(frozen=True)
class OpenedScan:
    """A scan, its brain mask (bool), and its slices."""

    scan: Volume
    brain: np.ndarray
    stack: SliceStack


@dataclass(frozen=True)
class ExtractedSlices:
    """Result of stage 1: arrays for the cache, and a line for each repair of a scan's header."""

    arrays: Mapping[str, np.ndarray]
    repairs: tuple[str, ...]


def open_scan(
    source: Source, settings: SliceSettings, brain_file: Path | None = None
) -> OpenedScan:
    """Read a scan and extract its slices (stage 1).

    Raises
    ------
    ScanError
        If it cannot be read, or contains no brain.
    """
    scan = read_volume(source)
    brain = brain_of_scan(scan, settings, brain_file)
    stack = make_slices(scan, settings, brain)
    if not len(stack.planes_with_brain):
        raise ScanError(source, "no plane with brain", "a brain", "check this scan")
    return OpenedScan(scan, brain, stack)


def brain_of_scan(scan: Volume, settings: SliceSettings, brain_file: Path | None) -> np.ndarray:
    """Brain mask, bool: the given one, or that of brain extraction."""
    if brain_file is not None:
        return read_brain_mask(brain_file, scan.geometry)
    return extract_brain(scan, settings)


def slices_fingerprint(
    digest: str, settings: SliceSettings, brain_file: Path | None
) -> Fingerprint:
    """Fingerprint of the slices of a scan with this hash.

    Raises
    ------
    ScanError
        If the brain mask is missing or cannot be read.
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


def extract_slices(config: RunConfig, case: CaseInput) -> ExtractedSlices:
    """Stage 1 for one case.

    Raises
    ------
    ScanError
        If the scan cannot be used.
    """
    opened = open_scan(case.scan, config.settings.slices, case.brain_mask)
    share = np.array(opened.brain.sum() / foreground_mask(opened.scan.array).sum(), np.float32)
    found = {"brain_share": share, "scan": pack_geometry(opened.scan.geometry)}
    arrays = {**pack_stack(opened.stack), **found}
    return ExtractedSlices(arrays, _repairs(case.scan, opened.scan))


def check_channels(config: RunConfig, case: CaseInput) -> ExtractedSlices:
    """Check the other channels of a case, alongside stage 1; the result has no arrays.

    Raises
    ------
    ScanError
        If one cannot be read, or its grid differs from that of the label channel.
    """
    grid = read_geometry(case.scan)
    repairs: tuple[str, ...] = ()
    for other in case.other_channels:
        volume = read_volume(other)
        check_grid(other, volume.geometry, grid)
        repairs += _repairs(other, volume)
    return ExtractedSlices({}, repairs)


def _repairs(source: Source, scan: Volume) -> tuple[str, ...]:
    return tuple(f"{one_line(source)}: {repair}" for repair in scan.repairs)


def _slices_fingerprint(config: RunConfig, case: CaseInput, _: tuple[str, ...]) -> Fingerprint:
    return slices_fingerprint(case.digests[case.scan], config.settings.slices, case.brain_mask)


def _channels_fingerprint(config: RunConfig, case: CaseInput, _: tuple[str, ...]) -> Fingerprint:
    return Fingerprint([case.digests[scan] for scan in (case.scan, *case.other_channels)])


def _save_slices(
    config: RunConfig,
    case: CaseInput,
    stage: str,
    fingerprint: Fingerprint,
    extracted: ExtractedSlices,
) -> tuple[str, ...]:
    save_arrays(config, case, stage, fingerprint, extracted.arrays)
    return extracted.repairs


EXTRACT_SLICES = CaseStep(
    "slices", "slices", extract_slices, _slices_fingerprint, workers="scans", save=_save_slices
)
CHECK_CHANNELS = CaseStep(
    "channels",
    "channels",
    check_channels,
    _channels_fingerprint,
    workers="scans",
    save=_save_slices,
)
