"""The command `clisc_evaluate`: predictions and references in, scores out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from clisc_nnunet.errors import EXIT_DONE, EXIT_INTERRUPTED, UserError

EPILOG = """\
OUT receives evaluation.csv, evaluation.json and evaluation.html, a page that needs no other file.
Empty masks: Dice is 0 if one mask is empty, undefined if both are; distances are undefined for
both, left out of the means, and counted.

exit status: 0 done; 2 bad input or call; 130 interrupted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = make_parser().parse_args(argv)
    from clisc_nnunet.evaluation.evaluate import Request, evaluate

    try:
        result = evaluate(
            Request(
                predictions=arguments.p,
                references=arguments.r,
                out=arguments.o,
                images=arguments.i,
                labels=tuple(arguments.label_of_interest),
                tolerance_mm=arguments.tolerance,
                missing=arguments.missing,
                processes=arguments.np,
                seed=arguments.seed,
            )
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return EXIT_INTERRUPTED
    print(result.text)
    return EXIT_DONE


def make_parser() -> argparse.ArgumentParser:
    """Parser of the command, in nnU-Net's grammar."""
    parser = argparse.ArgumentParser(
        prog="clisc_evaluate",
        description="Score predictions against references: Dice, HD95, surface distances, "
        "precision, recall, volumes and lesions, per case and over all, with confidence intervals.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-p", type=Path, required=True, metavar="PREDICTIONS", help="folder of CASE.nii.gz"
    )
    parser.add_argument(
        "-r",
        type=Path,
        required=True,
        metavar="REFERENCES",
        help="folder of CASE.nii.gz, or of CASE/CASE_seg.nii.gz as in BraTS",
    )
    parser.add_argument("-o", type=Path, metavar="OUT", help="folder for the files")
    parser.add_argument("-i", type=Path, metavar="IMAGES", help="scans, for the page's pictures")
    parser.add_argument(
        "--label-of-interest",
        type=int,
        nargs="+",
        default=[],
        metavar="L",
        help="labels to score, taken together, in predictions and references "
        "(default: all above 0, BraTS's whole tumour)",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1.0,
        metavar="MM",
        help="of the normalised surface Dice (default: 1)",
    )
    parser.add_argument(
        "--missing",
        choices=("error", "leave-out", "empty"),
        default="error",
        help="references without a prediction: refuse (default), leave out, or score as empty",
    )
    parser.add_argument("-np", type=int, default=2, metavar="N", help="processes (default: 2)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
