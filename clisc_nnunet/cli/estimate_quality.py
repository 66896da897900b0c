"""The command `clisc_estimate_quality`: rank predictions by estimated quality, without labels."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from clisc_nnunet.command_line import (
    RUN_WITH_CONTINUE,
    add_brain_masks,
    add_channel_options,
    add_device,
    add_processes,
    options_of,
    run,
)
from clisc_nnunet.errors import EXIT_DONE, EXIT_SOME_CASES_FAILED

EPILOG = """\
Scores are saved in OUT/judged. With --continue a case is scored again only if its scan, its
prediction, SAM or an option has changed; the result is that of an uninterrupted run.

exit status: 0 done; 2 bad input or call; 3 done, but some predictions could not be scored;
5 disk full or not writable; 130 interrupted (after 5 and 130, resume with --continue)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return run(make_parser(), argv, _estimate, interrupted=RUN_WITH_CONTINUE)


def _estimate(namespace: argparse.Namespace) -> int:
    from clisc_nnunet.quality_control.prompt_stability import JitterSettings
    from clisc_nnunet.quality_control.quality_page import as_table
    from clisc_nnunet.quality_control.score_predictions import QualityOptions, estimate_quality

    jitter = JitterSettings(namespace.repeats, namespace.jitter, namespace.seed)
    estimate = estimate_quality(options_of(QualityOptions, namespace, jitter=jitter))
    print(as_table(estimate.cases))
    print(f"\nwritten: {estimate.out / 'quality.html'}, quality.csv and quality.json beside it")
    return EXIT_SOME_CASES_FAILED if estimate.failed else EXIT_DONE


def make_parser() -> argparse.ArgumentParser:
    """Parser of the command, in nnU-Net's grammar."""
    parser = argparse.ArgumentParser(
        prog="clisc_estimate_quality",
        description="Rank predictions by their agreement with SAM, the least trusted first, "
        "without labels: similarity to SAM's mask, SAM's predicted IoU, and stability under "
        "jittered prompts. Writes quality.html, quality.csv and quality.json.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-i", dest="images", type=Path, required=True, metavar="IMAGES", help="folder of the scans"
    )
    parser.add_argument(
        "-p",
        dest="predictions",
        type=Path,
        required=True,
        metavar="PREDICTIONS",
        help="folder of masks, CASE.nii.gz; SAM, settings and label channel are taken from a "
        "dataset.json of this software in the folder or its parent, if there is one",
    )
    parser.add_argument(
        "-o", dest="out", type=Path, metavar="OUT", help="default: PREDICTIONS/quality"
    )
    parser.add_argument(
        "--continue",
        dest="resume",
        action="store_true",
        help="resume an interrupted estimate, or update a finished one; without it, an OUT "
        "with an earlier estimate is refused",
    )
    add_channel_options(parser, default="", shown="that of dataset.json, or flair")
    parser.add_argument(
        "--sam", default="", metavar="NAME|FILE", help="default: that of dataset.json, or bundled"
    )
    add_brain_masks(
        parser,
        " (not needed for training images of a dataset of this software, whose brain masks are "
        "known)",
    )
    parser.add_argument(
        "--looks",
        choices=("all", "axial"),
        default="all",
        help="SAM passes: all as for the pseudo-labels (default), or a single axial pass, which "
        "is several times faster",
    )
    parser.add_argument(
        "--repeats", type=int, default=5, help="number of jittered prompts (default: 5)"
    )
    parser.add_argument(
        "--jitter",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="jitter of the prompts, as a share of their box (default: 0.05)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the jitter (default: 0)")
    add_device(parser)
    add_processes(parser, shown="processes that read scans")
    return parser


if __name__ == "__main__":
    sys.exit(main())
