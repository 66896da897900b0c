"""SAM by itself on scans with references: Dice for exact and corrupted boxes of the true masks.

    python -m benchmarks.sam_prompts -i SCANS -r REFERENCES [--sam bundled]

Slices and prompts are those of the pipeline; means are over cases.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from clisc_nnunet.bundled.held_out_metrics import sam_metrics
from clisc_nnunet.bundled.phantom_set import TrainingVolume
from clisc_nnunet.errors import UserError
from clisc_nnunet.inputs.find_cases import Case, find_cases
from clisc_nnunet.io.volume import read_mask, read_volume
from clisc_nnunet.models.sam import load_sam
from clisc_nnunet.settings import SliceSettings
from clisc_nnunet.stages.brain_extraction import extract_brain
from clisc_nnunet.stages.slice_extraction import make_slices, mask_on_slices


def slices_with_truth(case: Case, reference: Path) -> TrainingVolume:
    """Slices of a scan as in the pipeline, and the reference on their grid."""
    scan = read_volume(case.image)
    truth = read_mask(reference, scan.geometry)
    stack = make_slices(scan, SliceSettings(), extract_brain(scan, SliceSettings()))
    return TrainingVolume(stack.pixels, mask_on_slices(truth, scan.geometry, stack))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-i", type=Path, required=True, help="folder of scans")
    parser.add_argument("-r", type=Path, required=True, help="references, CASE.nii.gz")
    parser.add_argument("--sam", default="bundled", help="name or path of a SAM")
    arguments = parser.parse_args(argv)
    try:
        sam = load_sam(arguments.sam, torch.device("cpu")).sam
        volumes = [
            slices_with_truth(case, arguments.r / f"{case.name}.nii.gz")
            for case in find_cases(arguments.i).cases
        ]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    print(json.dumps(sam_metrics(sam, volumes, every=2), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
