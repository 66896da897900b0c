"""The command `clisc_check_prompts`: how well text prompts separate slices, without labels."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from clisc_nnunet.command_line import (
    NOTHING_WRITTEN,
    add_brain_masks,
    add_channel_options,
    add_device,
    options_of,
    run,
)
from clisc_nnunet.errors import EXIT_DONE, EXIT_SOME_CASES_FAILED


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return run(make_parser(), argv, _check, interrupted=NOTHING_WRITTEN)


def _check(namespace: argparse.Namespace) -> int:
    from clisc_nnunet.quality_control.prompt_comparison import PromptOptions, check_folder
    from clisc_nnunet.quality_control.prompt_separation import table

    prompts = tuple(namespace.prompts or ("paper",))
    outcome = check_folder(options_of(PromptOptions, namespace, prompts=prompts))
    for case, reason in outcome.failures.items():
        print(f"skipped: {case}: {reason}", file=sys.stderr)
    print(table(outcome.checks))
    print(f"\nwritten: {namespace.out}")
    return EXIT_SOME_CASES_FAILED if outcome.failures else EXIT_DONE


def make_parser() -> argparse.ArgumentParser:
    """Parser of the command, in nnU-Net's grammar."""
    parser = argparse.ArgumentParser(
        prog="clisc_check_prompts",
        description="Show on a few volumes how well text prompts separate slices with a tumour "
        "from those without: histogram, curve along the height, and the most and least tumour-like "
        "slices. No labels are needed.",
        epilog="exit status: 0 done; 2 bad input or call; 3 done, but some scans were skipped; "
        "130 interrupted",
    )
    parser.add_argument(
        "-i", dest="scans", type=Path, required=True, metavar="SCANS", help="folder of scans"
    )
    parser.add_argument(
        "-o",
        dest="out",
        type=Path,
        required=True,
        metavar="OUT",
        help="page (.html) or image (.png)",
    )
    add_channel_options(parser)
    parser.add_argument(
        "--prompts",
        action="append",
        metavar="SET|FILE",
        help='paper (default), or a JSON file {"normal": ["..."], "tumour": ["..."]}; repeatable, '
        "to compare sets",
    )
    parser.add_argument(
        "--clip", default="bundled", metavar="NAME|FILE", help="default: the bundled one"
    )
    parser.add_argument(
        "-n",
        dest="count",
        type=int,
        default=4,
        metavar="N",
        help="number of volumes, sampled evenly from the folder (default: 4)",
    )
    parser.add_argument(
        "--preset",
        choices=("default", "paper"),
        default="default",
        help="settings of slices and of the limit for unsure ones",
    )
    add_brain_masks(parser)
    add_device(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
