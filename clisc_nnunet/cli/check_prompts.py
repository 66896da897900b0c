"""The command `clisc_check_prompts`: see how text prompts separate slices, without labels."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from clisc_nnunet.command_line import add_channel_options
from clisc_nnunet.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_SOME_CASES_FAILED, UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = make_parser().parse_args(argv)
    command = "clisc_check_prompts " + " ".join(sys.argv[1:] if argv is None else argv)
    # open_clip still uses a part of torch that warns at import; a user can do nothing about it.
    warnings.filterwarnings("ignore", message=".*torch.jit.*", category=FutureWarning)
    from clisc_nnunet.quality_control.prompt_comparison import PromptOptions, check_folder
    from clisc_nnunet.quality_control.prompt_separation import table

    try:
        outcome = check_folder(
            PromptOptions(
                scans=arguments.i,
                out=arguments.o,
                prompts=tuple(arguments.prompts or ("paper",)),
                clip=arguments.clip,
                count=arguments.n,
                preset=arguments.preset,
                device=arguments.device,
                brain_masks=arguments.brain_mask,
                channels=tuple(arguments.channels),
                label_channel=arguments.label_channel,
                command=command,
            )
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return EXIT_INTERRUPTED
    for case, reason in outcome.failures.items():
        print(f"set aside: {case}: {reason}", file=sys.stderr)
    print(table(outcome.checks))
    print(f"\nwritten: {arguments.o}")
    return EXIT_SOME_CASES_FAILED if outcome.failures else EXIT_DONE


def make_parser() -> argparse.ArgumentParser:
    """Parser of the command, in nnU-Net's grammar."""
    parser = argparse.ArgumentParser(
        prog="clisc_check_prompts",
        description="Show on a few volumes how text prompts separate slices with a tumour from "
        "those without: histogram, curve over the height, the most and the least tumour-like "
        "slices. No label is needed.",
        epilog="exit status: 0 done; 2 bad input or call; 3 done, but some scans could not be "
        "used; 130 interrupted",
    )
    parser.add_argument("-i", type=Path, required=True, metavar="SCANS", help="folder of scans")
    parser.add_argument(
        "-o", type=Path, required=True, metavar="OUT", help="page (.html) or picture (.png)"
    )
    add_channel_options(parser)
    parser.add_argument(
        "--prompts",
        action="append",
        metavar="SET|FILE",
        help='paper (default), or a JSON file {"normal": ["..."], "tumour": ["..."]}; may be given '
        "again, to compare sets",
    )
    parser.add_argument(
        "--clip", default="bundled", metavar="NAME|FILE", help="default: the bundled one"
    )
    parser.add_argument(
        "-n", type=int, default=4, help="volumes, evenly over the folder (default: 4)"
    )
    parser.add_argument(
        "--preset",
        choices=("default", "paper"),
        default="default",
        help="how slices are cut and when one is unsure",
    )
    parser.add_argument(
        "--brain-mask",
        type=Path,
        metavar="FOLDER",
        help="brain masks CASE.nii.gz, in place of our own extraction",
    )
    parser.add_argument(
        "-device",
        choices=("cpu", "cuda", "mps"),
        default=None,
        help="default: cuda if there is one",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
