"""The command `clisc_make_phantoms`: a BraTS-like folder of phantoms, with separate masks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from clisc_nnunet.command_line import RUN_AGAIN, add_processes, run
from clisc_nnunet.errors import EXIT_DONE, UserError
from clisc_nnunet.phantoms.settings import KINDS


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return run(make_parser(), argv, _make, interrupted=RUN_AGAIN)


def _make(namespace: argparse.Namespace) -> int:
    from clisc_nnunet.phantoms.phantom_dataset import make_phantom_dataset

    if namespace.count < 1 or namespace.processes < 1:
        found = f"{namespace.count} and {namespace.processes}"
        raise UserError("-n and -np", found, "1 or more", "change them")
    options = {k: v for k, v in vars(namespace).items() if k != "command"}
    cases = make_phantom_dataset(**options)
    free = sum(case["kind"] == "none" for case in cases)
    images = namespace.folder / "images"
    print(f"{len(cases)} phantoms in {images}, {free} of them without a tumour")
    return EXIT_DONE


def make_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        prog="clisc_make_phantoms",
        description="Make FLAIR-like scans of heads with tumours, and their masks: "
        "OUT/images/CASE/CASE_flair.nii.gz and OUT/labels/CASE.nii.gz.",
    )
    parser.add_argument(
        "-o", dest="folder", type=Path, required=True, metavar="OUT", help="output folder"
    )
    parser.add_argument(
        "-n",
        dest="count",
        type=int,
        default=12,
        metavar="N",
        help="number of phantoms (default: 12)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed of the first phantom; disjoint sets need seeds at least N apart",
    )
    parser.add_argument(
        "--anatomy",
        dest="anatomy_folder",
        type=Path,
        metavar="DIR",
        help="label maps of heads (BrainWeb, SynthSeg); default: MNI152",
    )
    parser.add_argument(
        "--spacing", dest="spacing_mm", type=float, default=1.5, metavar="MM", help="default: 1.5"
    )
    parser.add_argument(
        "--tumour-free", type=float, default=0.1, metavar="SHARE", help="default: 0.1"
    )
    parser.add_argument(
        "--kinds",
        choices=list(KINDS),
        default="usual",
        help="usual (default); heads with skull and scalp, if the label maps have them; unseen, "
        "kinds that the bundled models were not trained on; aged, with wide ventricles and bright "
        "caps around them; sclerosis, with many small plaques; vascular, with confluent "
        "hyperintensities, infarcts and cavities",
    )
    add_processes(parser, default=1)
    return parser


if __name__ == "__main__":
    sys.exit(main())
