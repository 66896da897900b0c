"""The command `clisc_evaluate`: predictions and references in, scores out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from clisc_nnunet.command_line import (
    NOTHING_WRITTEN,
    add_channel_options,
    add_processes,
    options_of,
    run,
)
from clisc_nnunet.errors import EXIT_DONE

EPILOG = """\
Writes evaluation.csv, evaluation.json and evaluation.html, a self-contained page, to OUT; with -d,
stages.csv and stages.json (Dice of each stage, and scores of the slice labels; options after -o are
ignored).
Empty masks: Dice is 0 if one mask is empty, undefined if both are; distances are undefined in both
cases. Undefined values are excluded from the means, and counted.

exit status: 0 done; 2 bad input or call; 5 disk full or not writable; 130 interrupted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return run(make_parser(), argv, _evaluate, interrupted=NOTHING_WRITTEN)


def _evaluate(namespace: argparse.Namespace) -> int:
    print(_of_stages(namespace) if namespace.dataset else _of_predictions(namespace))
    return EXIT_DONE


def make_parser() -> argparse.ArgumentParser:
    """Parser of the command, in nnU-Net's grammar."""
    parser = argparse.ArgumentParser(
        prog="clisc_evaluate",
        description="Score predictions against references: Dice, HD95, surface distances, "
        "precision, recall, volumes and lesions, per case and overall, with confidence "
        "intervals.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "-p", dest="predictions", type=Path, metavar="PREDICTIONS", help="folder of CASE.nii.gz"
    )
    what.add_argument(
        "-d",
        dest="dataset",
        type=Path,
        metavar="DATASET",
        help="dataset of clisc_make_pseudo_dataset: score slice labels, regions and pseudo-labels",
    )
    parser.add_argument(
        "-r",
        dest="references",
        type=Path,
        required=True,
        metavar="REFERENCES",
        help="folder of CASE.nii.gz, CASE/CASE_seg.nii.gz as in BraTS, or another tree of masks",
    )
    parser.add_argument(
        "--mask-name",
        default="",
        metavar="ENDING",
        help="ending or pattern of the references' names, where a case has several masks",
    )
    parser.add_argument("-o", dest="out", type=Path, metavar="OUT", help="output folder")
    parser.add_argument(
        "-i", dest="images", type=Path, metavar="IMAGES", help="scans, for the pictures of the page"
    )
    add_channel_options(parser)
    parser.add_argument(
        "--label-of-interest",
        dest="labels",
        type=int,
        nargs="+",
        default=[],
        metavar="L",
        help="labels to score as one, in predictions and references (default: all above 0, the "
        "whole tumour of BraTS)",
    )
    parser.add_argument(
        "--tolerance",
        dest="tolerance_mm",
        type=float,
        default=1.0,
        metavar="MM",
        help="tolerance of the normalised surface Dice (default: 1)",
    )
    parser.add_argument(
        "--missing",
        choices=("error", "leave-out", "empty"),
        default="error",
        help="for references without a prediction: fail (default), leave out, or score as empty",
    )
    add_processes(parser)
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (default: 0)")
    return parser


def _of_predictions(namespace: argparse.Namespace) -> str:
    from clisc_nnunet.evaluation.evaluate import EvaluationOptions, evaluate

    return evaluate(options_of(EvaluationOptions, namespace)).text


def _of_stages(namespace: argparse.Namespace) -> str:
    from clisc_nnunet.evaluation.evaluate import check_out
    from clisc_nnunet.evaluation.stage_tables import report_stages
    from clisc_nnunet.evaluation.tables import to_csv, to_json
    from clisc_nnunet.io.atomic_write import write_text

    check_out(namespace.out)
    report = report_stages(namespace.dataset, namespace.references, namespace.mask_name)
    if namespace.out is not None:
        write_text(namespace.out / "stages.csv", to_csv(report.rows))
        content = {"cases": report.rows, **report.others}
        write_text(namespace.out / "stages.json", to_json(content))
    return report.text


if __name__ == "__main__":
    sys.exit(main())
