"""The command `clisc_segment`: masks of scans at once, without any training."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from clisc_nnunet.command_line import add_channel_options, add_device, options_of, run
from clisc_nnunet.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_SOME_CASES_FAILED

EPILOG = """\
Without -m the bundled network is used, which was trained on phantoms alone. Written into OUT: a
mask CASE.nii.gz per scan, on the grid of the scan, volumes.csv and segmentations.png. Which masks
to trust: clisc_estimate_quality -i SCANS -p OUT.

exit status: 0 done; 2 bad input or call; 3 done, but some scans were skipped; 5 disk full or
not writable; 130 interrupted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return run(make_parser(), argv, _segment, interrupted="interrupted; --overwrite starts again")


def make_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        prog="clisc_segment",
        description="Segment brain tumours in FLAIR scans with a trained network; no training, "
        "CLIP or SAM is needed.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-i",
        dest="scans",
        type=Path,
        required=True,
        metavar="SCAN|FOLDER",
        help="one scan, or a folder as clisc_make_pseudo_dataset takes it; with or without skull",
    )
    parser.add_argument(
        "-o", dest="out", type=Path, required=True, metavar="OUT", help="a new folder"
    )
    parser.add_argument(
        "-m",
        dest="model",
        type=Path,
        metavar="FOLDER",
        help="a model trained with nnU-Net: nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION "
        "(default: the bundled network)",
    )
    add_channel_options(parser)
    add_device(parser)
    parser.add_argument(
        "--overwrite", action="store_true", help="write into a folder that is not empty"
    )
    return parser


def _segment(arguments: argparse.Namespace) -> int:
    from clisc_nnunet.inference.segment_folder import SegmentOptions, segment_folder

    cases, failures = segment_folder(options_of(SegmentOptions, arguments))
    for case in cases:
        print(f"{case.name:<32} {case.tumour_ml:8.1f} ml")
    for reason in failures.values():
        print(f"skipped: {reason}", file=sys.stderr)
    print(f"{len(cases)} masks in {arguments.out}; picture: {arguments.out / 'segmentations.png'}")
    if not cases:
        return EXIT_BAD_INPUT
    return EXIT_SOME_CASES_FAILED if failures else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
