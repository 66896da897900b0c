"""Which of SAM's looks help: the same regions, drawn from with other settings.

    python -m benchmarks.sam_looks -d DATASET -r REFERENCES [--only NAME ...]

DATASET is what `clisc_make_pseudo_dataset` wrote; its regions are kept, SAM draws anew. Dice is
measured on the models' slices, over the cases with a tumour. Choices belong on phantoms.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from clisc_nnunet.errors import UserError
from clisc_nnunet.evaluation.stage_scores import load_kept
from clisc_nnunet.io.volume import read_geometry, read_mask
from clisc_nnunet.metrics import dice
from clisc_nnunet.models.sam import SamModel, load_sam
from clisc_nnunet.pipeline.serialization import unpack_region, unpack_stack
from clisc_nnunet.settings import PromptSettings, SamSettings
from clisc_nnunet.stages.pseudo_label import fill_holes
from clisc_nnunet.stages.sam.embedding_cache import EmbeddingCache
from clisc_nnunet.stages.sam.volume_segmenter import VolumeSegmenter
from clisc_nnunet.stages.slice_extraction import SliceStack, mask_on_slices

DEFAULT = SamSettings()
LOOKS: dict[str, tuple[SamSettings, PromptSettings, bool]] = {
    "axial": (replace(DEFAULT, views=("axial",), close_up=0.0), PromptSettings(), False),
    "three views": (replace(DEFAULT, close_up=0.0), PromptSettings(), False),
    "three views, holes filled": (replace(DEFAULT, close_up=0.0), PromptSettings(), True),
    "axial, then a close-up of it": (replace(DEFAULT, views=("axial",)), PromptSettings(), True),
    "default": (DEFAULT, PromptSettings(), True),
    "close-up of 1.3": (replace(DEFAULT, close_up=1.3), PromptSettings(), True),
    "close-up of 2": (replace(DEFAULT, close_up=2.0), PromptSettings(), True),
    "margin of 0 px": (DEFAULT, PromptSettings(margin=0), True),
    "margin of 6 px": (DEFAULT, PromptSettings(margin=6), True),
    "box without points": (
        DEFAULT,
        PromptSettings(positive_points=0, negative_corners=False),
        True,
    ),
}
"""Settings of SAM and of its prompts, and whether holes are filled, by name."""
SHIFTS = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Case:
    """Slices of a case, the region that prompts SAM, and the truth on the same grid."""

    name: str
    stack: SliceStack
    region: np.ndarray
    truth: np.ndarray


def load_cases(dataset: Path, references: Path) -> list[Case]:
    """Cases of a dataset that have a tumour.

    Raises
    ------
    UserError
        If it has none.
    """
    cases = []
    for folder in sorted((dataset / "clisc" / "stages").glob("*/")):
        stack = unpack_stack(load_kept(folder / "slices.npz"))
        packed = load_kept(folder / "enhanced_regions.npz")["roi"]
        region = unpack_region(packed, stack.pixels.shape)
        scan = read_geometry(dataset / "clisc" / "roi" / f"{folder.name}.nii.gz")
        truth = read_mask(references / f"{folder.name}.nii.gz", scan)
        on_slices = mask_on_slices(truth, scan, stack)
        if on_slices.any():
            cases.append(Case(folder.name, stack, region, on_slices))
    if not cases:
        raise UserError(dataset, "no case with a tumour", "what the converter wrote", "check -d")
    return cases


def scores(cases: Sequence[Case], model: SamModel, look: str) -> np.ndarray:
    """Dice of each case, for each shift of the logit; float (case, shift)."""
    settings, prompts, fill = LOOKS[look]
    segmenter = VolumeSegmenter(model, prompts, settings, EmbeddingCache(model, settings))
    rows = []
    for case in cases:
        logits = segmenter.segment(case.name, case.stack, case.region).logits
        shifted = [logits + shift for shift in SHIFTS]
        masks = [(fill_holes(each) if fill else each) > 0 for each in shifted]
        rows.append([dice(mask, case.truth) for mask in masks])
    return np.array(rows)


def make_parser(description: str) -> argparse.ArgumentParser:
    """Parser of a benchmark that lets a SAM draw from the regions of a dataset."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("-d", type=Path, required=True, help="dataset of the conversion")
    parser.add_argument("-r", type=Path, required=True, help="references, CASE.nii.gz")
    parser.add_argument("--sam", default="bundled", help="name or path of a SAM")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(LOOKS), default=list(LOOKS))
    arguments = parser.parse_args(argv)
    try:
        model = load_sam(arguments.sam, torch.device("cpu"))
        cases = load_cases(arguments.d, arguments.r)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    shown = " | ".join(f"logit + {shift:g}" for shift in SHIFTS)
    print(f"| look ({len(cases)} cases) | {shown} | worst case |\n| --- | --- | --- | --- | --- |")
    for look in arguments.only:
        found = scores(cases, model, look)
        means = " | ".join(f"{mean:.3f}" for mean in found.mean(axis=0))
        print(f"| {look} | {means} | {found[:, 0].min():.3f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
