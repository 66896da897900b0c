"""The command `clisc_segment`: masks of scans at once, without any training."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from clisc_nnunet.command_line import add_channel_options, add_device, options_of, run
from clisc_nnunet.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_SOME_CASES_FAILED

EPILOG = """\
Written into OUT: a mask CASE.nii.gz per scan, on the grid of the scan; volumes.csv; and
segmentations.html, a page with the outline of each mask. The quality in both is an estimate
without labels, 0 to 1, by agreement with SAM: it says which masks to check first, and is not a
Dice. Without -d or -m the bundled network is used, which was trained on phantoms alone and sees
the brain without the skull. A network named by -d or -m sees scans as they are, as with
nnUNetv2_predict; --strip removes the skull.

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
    _add_network(parser.add_argument_group("network"))
    parser.add_argument(
        "--no-quality",
        dest="quality",
        action="store_false",
        help="do not estimate the quality of the masks, which takes a second or more per scan",
    )
    add_channel_options(parser)
    add_device(parser)
    parser.add_argument(
        "--overwrite", action="store_true", help="write into a folder that is not empty"
    )
    return parser


def _add_network(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-d",
        dest="dataset",
        metavar="DATASET",
        help="use the network trained on this dataset of $nnUNet_results: number, name or path "
        "(default: the bundled network)",
    )
    for flag, name in (("-tr", "trainer"), ("-p", "plans"), ("-c", "configuration")):
        group.add_argument(
            flag, dest=name, metavar=name.upper(), help=f"its {name}, if there are several"
        )
    group.add_argument(
        "-m",
        dest="model",
        type=Path,
        metavar="FOLDER",
        help="instead of -d: nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION",
    )
    group.add_argument(
        "-f",
        dest="folds",
        nargs="+",
        default=[],
        metavar="FOLD",
        help="folds to average (default: all of them together, or `all` if it was trained)",
    )
    group.add_argument(
        "-chk",
        dest="checkpoint",
        default="checkpoint_final.pth",
        metavar="FILE",
        help="default: checkpoint_final.pth",
    )
    group.add_argument(
        "--strip", action="store_true", help="show the network the brain alone, without skull"
    )


def _segment(arguments: argparse.Namespace) -> int:
    from clisc_nnunet.inference.segment_folder import PAGE, SegmentOptions, segment_folder
    from clisc_nnunet.inference.trained_model import NetworkChoice

    network = options_of(NetworkChoice, arguments)
    cases, failures = segment_folder(options_of(SegmentOptions, arguments, network=network))
    for case in cases:
        quality = "" if case.quality is None else f"   quality {case.quality:.2f} (estimated)"
        print(f"{case.name:<32} {case.tumour_ml:8.1f} ml{quality}")
    for reason in failures.values():
        print(f"skipped: {reason}", file=sys.stderr)
    print(f"{len(cases)} masks in {arguments.out}; pictures: {arguments.out / PAGE}")
    if not cases:
        return EXIT_BAD_INPUT
    return EXIT_SOME_CASES_FAILED if failures else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
