"""Segment the scans of a folder: masks on their grids, a table of volumes, a page of pictures."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
from tqdm import tqdm

from clisc_nnunet import __version__
from clisc_nnunet.errors import ScanError, one_line
from clisc_nnunet.inference.trained_model import NetworkChoice
from clisc_nnunet.inference.volume_predictor import VolumePredictor, load_predictor, segment_scan
from clisc_nnunet.inputs.case_filter import chosen_input
from clisc_nnunet.inputs.cases import Case
from clisc_nnunet.inputs.channels import chosen_channels
from clisc_nnunet.inputs.file_names import stem
from clisc_nnunet.inputs.find_cases import describe
from clisc_nnunet.io.atomic_write import write_text
from clisc_nnunet.io.paths import check_output
from clisc_nnunet.io.volume import Source, read_volume, write_volume
from clisc_nnunet.models.device import chosen_device
from clisc_nnunet.quality_control.mask_quality import MaskRater
from clisc_nnunet.report.segmentation_page import (
    SegmentationCard,
    mask_pictures,
    render_segmentations,
)

MASK_ENDING = ".nii.gz"
TABLE, PAGE = "volumes.csv", "segmentations.html"


@dataclass(frozen=True)
class SegmentOptions:
    """Options of `clisc_segment`; names as in its help."""

    scans: Path
    out: Path
    network: NetworkChoice = field(default_factory=NetworkChoice)
    quality: bool = True
    channels: tuple[str, ...] = ()
    label_channel: str = "flair"
    device: str | None = None
    overwrite: bool = False


def segment_folder(options: SegmentOptions) -> tuple[list[SegmentationCard], dict[str, str]]:
    """Segment every scan found; one that cannot be used stops no other.

    Returns
    -------
    cases : list of SegmentationCard
        In order of name.
    failures : dict of case to reason

    Raises
    ------
    UserError
        For invalid options or input.
    """
    label_channel = options.label_channel.lower()
    if options.scans.is_file():
        scans, failures = [Case(stem(options.scans), options.scans)], {}
    else:
        channels = chosen_channels(options.channels, label_channel)
        found = chosen_input(options.scans, channels, label_channel)
        print(describe(found, label_channel), flush=True)
        scans, failures = list(found.cases), {name: str(fault) for name, fault in found.faults}
    check_output(options.out, options.scans, reuse=options.overwrite, option="--overwrite")
    device = chosen_device(options.device)
    predictor = load_predictor(options.network, device)
    rater = MaskRater.bundled(device) if options.quality else None
    options.out.mkdir(parents=True, exist_ok=True)
    cases = []
    for case in tqdm(scans, "segment", unit="scan"):
        try:
            cases.append(_segment_case(predictor, rater, case.name, case.image, options.out))
        except ScanError as error:
            failures[case.name] = str(error)
            tqdm.write(f"skipped: {error}", file=sys.stderr)
    write_text(options.out / TABLE, volumes_table(cases))
    page = render_segmentations(
        cases,
        failures,
        network=predictor.name,
        written=datetime.now().astimezone().strftime("%d %B %Y, %H:%M %Z"),
        version=__version__,
    )
    write_text(options.out / PAGE, page)
    return cases, failures


def volumes_table(cases: Sequence[SegmentationCard]) -> str:
    """CSV with the volume of each mask and of the brain, in millilitres, and the quality."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "tumour_ml", "brain_ml", "quality"])
    for case in cases:
        quality = "" if case.quality is None else f"{case.quality:.4f}"
        writer.writerow([case.name, f"{case.tumour_ml:.2f}", f"{case.brain_ml:.1f}", quality])
    return text.getvalue()


def _segment_case(
    predictor: VolumePredictor, rater: MaskRater | None, name: str, source: Source, out: Path
) -> SegmentationCard:
    scan = read_volume(source)
    for repair in scan.repairs:
        tqdm.write(f"{one_line(source)}: {repair}")
    found = segment_scan(predictor, scan)
    if not found.brain.any():
        raise ScanError(source, "no brain", "a scan of a head", "check this scan")
    write_volume(out / f"{name}{MASK_ENDING}", found.mask.astype(np.uint8), scan.geometry)
    ml = scan.geometry.voxel_ml
    return SegmentationCard(
        name,
        float(found.mask.sum()) * ml,
        float(found.brain.sum()) * ml,
        None if rater is None else rater.rate(name, scan, found.brain, found.mask),
        mask_pictures(scan, found.brain | found.mask, found.mask),
    )
