"""Segment the scans of a folder: masks on their grids, a table of volumes, a picture."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.ndimage import binary_dilation
from tqdm import tqdm

from clisc_nnunet.errors import ScanError, one_line
from clisc_nnunet.inference.volume_predictor import VolumePredictor, segment_scan
from clisc_nnunet.inputs.case_filter import chosen_input
from clisc_nnunet.inputs.cases import Case
from clisc_nnunet.inputs.channels import chosen_channels
from clisc_nnunet.inputs.file_names import stem
from clisc_nnunet.inputs.find_cases import describe
from clisc_nnunet.io.atomic_write import atomic_file, write_text
from clisc_nnunet.io.paths import check_output
from clisc_nnunet.io.volume import Source, Volume, read_volume, to_axial, write_volume
from clisc_nnunet.models.device import chosen_device

MASK_ENDING = ".nii.gz"
# Larger folders get a picture of these first cases.
MAX_ROWS = 40


@dataclass(frozen=True)
class SegmentOptions:
    """Options of `clisc_segment`; names as in its help."""

    scans: Path
    out: Path
    model: Path | None = None
    channels: tuple[str, ...] = ()
    label_channel: str = "flair"
    device: str | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class SegmentedCase:
    """A mask that was written; `picture` shows its largest plane, RGB uint8 (row, column, 3)."""

    name: str
    tumour_ml: float
    brain_ml: float
    picture: np.ndarray | None = None


def segment_folder(options: SegmentOptions) -> tuple[list[SegmentedCase], dict[str, str]]:
    """Segment every scan found; one that cannot be used stops no other.

    Returns
    -------
    cases : list of SegmentedCase
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
    options.out.mkdir(parents=True, exist_ok=True)
    device = chosen_device(options.device)
    predictor = (
        VolumePredictor.of_folder(options.model, device)
        if options.model
        else VolumePredictor.bundled(device)
    )
    cases = []
    for case in tqdm(scans, "segment", unit="scan"):
        try:
            cases.append(_segment_case(predictor, case.name, case.image, options.out))
        except ScanError as error:
            failures[case.name] = str(error)
            tqdm.write(f"skipped: {error}", file=sys.stderr)
    write_text(options.out / "volumes.csv", volumes_table(cases))
    if cases:
        write_overview(cases[:MAX_ROWS], options.out / "segmentations.png")
    return cases, failures


def volumes_table(cases: Sequence[SegmentedCase]) -> str:
    """CSV with the volume of each mask and of the brain, in millilitres."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "tumour_ml", "brain_ml"])
    writer.writerows([c.name, f"{c.tumour_ml:.2f}", f"{c.brain_ml:.1f}"] for c in cases)
    return text.getvalue()


def write_overview(cases: Sequence[SegmentedCase], path: Path) -> None:
    """Write a picture with the largest plane of each mask, outlined; a PNG file."""
    columns = min(len(cases), 4)
    rows = -(-len(cases) // columns)
    figure = Figure(figsize=(3 * columns, 3.3 * rows), layout="constrained", facecolor="black")
    FigureCanvasAgg(figure)
    for axes, case in zip(
        figure.subplots(rows, columns, squeeze=False).ravel(),
        [*cases, *[None] * (rows * columns - len(cases))],
        strict=True,
    ):
        axes.set_axis_off()
        if case is not None and case.picture is not None:
            axes.imshow(case.picture)
            title = f"{case.name}\n{case.tumour_ml:.1f} ml"
            axes.set_title(title, fontsize=8, color="white", parse_math=False)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


def _segment_case(
    predictor: VolumePredictor, name: str, source: Source, out: Path
) -> SegmentedCase:
    scan = read_volume(source)
    for repair in scan.repairs:
        tqdm.write(f"{one_line(source)}: {repair}")
    mask, brain = segment_scan(predictor, scan)
    if not brain.any():
        raise ScanError(source, "no brain", "a scan of a head", "check this scan")
    write_volume(out / f"{name}{MASK_ENDING}", mask.astype(np.uint8), scan.geometry)
    ml = scan.geometry.voxel_ml
    picture = _picture(Volume(np.where(brain, scan.array, 0), scan.geometry), mask)
    return SegmentedCase(name, float(mask.sum()) * ml, float(brain.sum()) * ml, picture)


def _picture(scan: Volume, mask: np.ndarray) -> np.ndarray:
    """Axial plane with the largest part of the mask, outlined in orange; right is on the left."""
    axial = to_axial(scan).array
    shown = to_axial(Volume(mask.astype(np.float32), scan.geometry)).array > 0.5
    sizes = shown.sum(axis=(1, 2))
    plane = int(sizes.argmax()) if sizes.any() else len(axial) // 2
    head = tuple(
        slice(max(int(np.flatnonzero(line)[0]) - 4, 0), int(np.flatnonzero(line)[-1]) + 5)
        for line in (axial.any(axis=(0, 2)), axial.any(axis=(0, 1)))
    )
    low, high = np.percentile(axial[axial != 0], [1, 99.5]) if axial.any() else (0, 1)
    grey = np.clip((axial[plane][head] - low) / max(high - low, 1e-6), 0, 1) * 255
    image = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    mask = shown[plane][head]
    image[binary_dilation(mask) & ~mask] = (255, 140, 0)
    return image
