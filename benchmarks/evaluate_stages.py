"""Scores of every stage of a conversion: `python -m benchmarks.evaluate_stages -d FOLDER -r REFS`.

Like `clisc_evaluate -d FOLDER -r REFS`. With `--no-tumour` instead of `-r`, no scan has a tumour,
and slices classified as tumour are counted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from clisc_nnunet.errors import UserError
from clisc_nnunet.evaluation.stage_tables import report_stages
from clisc_nnunet.evaluation.tables import to_csv, to_json
from clisc_nnunet.io.atomic_write import write_text


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-d", type=Path, required=True, metavar="DATASET", help="dataset folder")
    truth = parser.add_mutually_exclusive_group(required=True)
    truth.add_argument("-r", type=Path, metavar="REFERENCES", help="folder of CASE.nii.gz")
    truth.add_argument("--no-tumour", action="store_true", help="no scan shows a tumour")
    parser.add_argument("-o", type=Path, metavar="OUT.csv", help="scores; also writes OUT.json")
    arguments = parser.parse_args(argv)
    try:
        report = report_stages(arguments.d, arguments.r)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    print(report.text)
    if arguments.o is not None:
        write_text(arguments.o, to_csv(report.rows))
        content = {"cases": report.rows, **report.others}
        write_text(arguments.o.with_suffix(".json"), to_json(content))
    return 0


if __name__ == "__main__":
    sys.exit(main())
