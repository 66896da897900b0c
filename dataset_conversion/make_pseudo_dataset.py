"""The command `clisc_make_pseudo_dataset`: unlabelled scans in, nnU-Net raw dataset out.

A large folder can be divided among the jobs of an array that share a file system. Work on single
cases is divided; the classifiers are trained on all cases, by one job in between:

    C="clisc_make_pseudo_dataset -i SCANS -d 501"
    $C --stage slices  -num_parts 20 -part_id K     (an array, K = 0 to 19)
    $C --stage classifier                           (one job)
    $C --stage regions -num_parts 20 -part_id K
    $C --stage enhanced                             (one job)
    $C --stage labels  -num_parts 20 -part_id K
    $C --continue                                   (one job: checks all, writes the dataset)

Every job saves its results; a job that fails can simply be started again. `--continue` alone does
whatever is left. The labels do not depend on how the work was divided.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clisc_nnunet.command_line import (
    RUN_WITH_CONTINUE,
    add_brain_masks,
    add_device,
    add_input_arguments,
    add_processes,
    options_of,
    print_error,
    run,
)
from clisc_nnunet.errors import (
    EXIT_CANNOT_WRITE,
    EXIT_DONE,
    EXIT_SOME_CASES_FAILED,
    UserError,
)

EPILOG = """\
exit status: 0 done; 2 bad input or call; 3 done, but some cases failed (see clisc/cases.csv);
4 no tumour anywhere; 5 disk full or not writable; 130 interrupted (after 5 and 130,
resume with --continue)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    call = _Call()
    return run(make_parser(), argv, call.convert, interrupted=RUN_WITH_CONTINUE, finish=call.report)


@dataclass
class _Call:
    """State of a call for its report: outcomes, and the dataset, if one was written."""

    outcomes: list[Any] = field(default_factory=list)
    dataset: Path | None = None
    phantoms: int = 0

    def convert(self, namespace: argparse.Namespace) -> int:
        from clisc_nnunet.dataset_conversion.conversion import convert
        from clisc_nnunet.dataset_conversion.dry_run import plan
        from clisc_nnunet.dataset_conversion.options import ConversionOptions
        from clisc_nnunet.io.atomic_write import storage_error

        options = options_of(ConversionOptions, namespace, settings=None)
        if namespace.dry_run:
            print(plan(options))
            return EXIT_DONE
        try:
            result = convert(options, self.outcomes)
        except OSError as error:
            refused = storage_error(error)
            if refused is None:
                raise
            raise refused from None
        print(result.text)
        self.dataset, self.phantoms = result.folder, result.phantoms
        return EXIT_SOME_CASES_FAILED if result.failed else EXIT_DONE

    def report(
        self, namespace: argparse.Namespace, status: int, error: BaseException | None
    ) -> int:
        """Write the report, if requested; returns the exit status, or 5 if writing fails."""
        if namespace.report is None:
            return status
        from clisc_nnunet.dataset_conversion.machine_report import machine_report, write_report

        try:
            content = machine_report(
                namespace.command, status, self.outcomes, self.dataset, error, self.phantoms
            )
            write_report(namespace.report, content)
        except UserError as mistake:
            print_error(mistake)
            done = status in (EXIT_DONE, EXIT_SOME_CASES_FAILED)
            return EXIT_CANNOT_WRITE if done else status
        return status


def make_parser() -> argparse.ArgumentParser:
    """Parser of the command, in nnU-Net's grammar."""
    parser = argparse.ArgumentParser(
        prog="clisc_make_pseudo_dataset",
        description="Turn a folder of unlabelled FLAIR scans into an nnU-Net raw dataset whose "
        "labels are made by CLIP, class activation maps and SAM.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-i", dest="scans", type=Path, required=True, metavar="SCANS", help="folder of scans"
    )
    parser.add_argument(
        "-d", dest="dataset_id", type=int, required=True, metavar="ID", help="dataset id, 1 to 999"
    )
    parser.add_argument("--name", default="CLISC", help="name of the dataset (default: CLISC)")
    parser.add_argument("-o", dest="root", type=Path, metavar="ROOT", help="default: $nnUNet_raw")
    inputs = parser.add_argument_group("input")
    add_input_arguments(inputs)
    add_brain_masks(inputs)
    models = parser.add_argument_group("models")
    models.add_argument(
        "--models",
        choices=("bundled", "paper"),
        default="bundled",
        help="the small models of this package (default), or the paper's (downloaded on first use)",
    )
    models.add_argument("--clip", metavar="NAME|FILE", help="another CLIP")
    models.add_argument("--sam", metavar="NAME|FILE", help="another SAM")
    models.add_argument("--classifier", metavar="NAME|FILE", help="another backbone")
    method = parser.add_argument_group("method")
    method.add_argument("--preset", choices=("default", "paper"), default="default")
    method.add_argument(
        "--settings",
        dest="settings_file",
        type=Path,
        metavar="JSON",
        help="settings.json of an earlier run",
    )
    method.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="STAGE.NAME=VALUE",
        help="one setting, such as roi.threshold=0.3 (repeatable)",
    )
    method.add_argument(
        "--slice-labels",
        type=Path,
        metavar="CSV",
        help="slice labels to use instead of CLIP's, in the format of clisc/slice_labels.csv",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--copy", action="store_true", help="copy the scans; default: link them")
    output.add_argument(
        "--empty-cases",
        choices=("leave-out", "background"),
        default="leave-out",
        help="cases without a tumour: leave them out (default), or label them background",
    )
    output.add_argument(
        "--add-phantoms",
        type=int,
        metavar="N",
        help="phantoms in the dataset: synthetic FLAIR scans with certain labels, a third of them "
        "without a tumour (default: as many as it has, at first none)",
    )
    output.add_argument(
        "--continue",
        dest="resume",
        action="store_true",
        help="resume an interrupted run, or update a finished one to new settings or scans",
    )
    output.add_argument(
        "--retry-failed",
        action="store_true",
        help="resume, and retry the cases that were skipped; other cases are not computed again",
    )
    output.add_argument(
        "--report", type=Path, metavar="JSON", help="write how the call ended, for programs"
    )
    output.add_argument(
        "--dry-run", action="store_true", help="print what would be done, and write nothing"
    )
    size = parser.add_argument_group("size")
    size.add_argument(
        "--stage",
        choices=("slices", "classifier", "regions", "enhanced", "labels"),
        help="stop after this stage; slices, regions and labels can be divided into parts, "
        "classifier and enhanced need all cases",
    )
    size.add_argument(
        "-num_parts", dest="parts", type=int, default=1, metavar="N", help="divide the cases"
    )
    size.add_argument("-part_id", dest="part", type=int, default=0, metavar="K", help="0 to N - 1")
    size.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="Dask cluster to run on: address of the scheduler, or its scheduler file",
    )
    add_device(parser)
    add_processes(
        parser,
        shown="worker processes, one core each",
        remark="; on a GPU, the models run in one process",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
