"""The command `clisc_prepare_scans`: any folder of scans, as `nnUNetv2_predict -i` wants it.

A network has learnt from the scans that `clisc_make_pseudo_dataset` placed. Those it is to segment
have to be placed alike: named by case and channel, NIfTI, on one grid, with a background of 0.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clisc_nnunet.command_line import RUN_WITH_CONTINUE, add_input_arguments, run
from clisc_nnunet.dataset_layout import FILE_ENDING, DatasetLayout
from clisc_nnunet.errors import (
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_SOME_CASES_FAILED,
    ScanError,
    UserError,
)

if TYPE_CHECKING:
    from clisc_nnunet.inputs.cases import Case

EPILOG = """Give --channels and --prompt-channel as they were given when the dataset was made.

exit status: 0 done; 2 bad input or call; 3 done, but some cases were set aside; 5 disk full or
not to be written to; 130 interrupted (after 5 and 130, go on with --continue)
"""
# Files lie here until they are whole: beside the others, nnU-Net would take them for cases.
UNFINISHED = ".unfinished"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return run(make_parser(), argv, _prepare, interrupted=RUN_WITH_CONTINUE)


def _prepare(namespace: argparse.Namespace) -> int:
    from clisc_nnunet.inputs.case_filter import chosen_input
    from clisc_nnunet.inputs.channels import chosen_channels
    from clisc_nnunet.inputs.find_cases import describe

    scans, out, prompt = namespace.scans, namespace.out, namespace.label_channel
    channels = chosen_channels(tuple(namespace.channels), prompt)
    found = chosen_input(scans, channels, prompt, namespace.cases, namespace.leave_out)
    print(describe(found), flush=True)
    check_output(out, scans, resume=namespace.resume)
    failed = prepare(found.cases, out, copy=namespace.copy)
    done = len(found.cases) - len(failed)
    print(f"{done} cases in {out}, for nnUNetv2_predict -i")
    if done == 0:
        return EXIT_BAD_INPUT
    return EXIT_SOME_CASES_FAILED if failed or found.faults else EXIT_DONE


def check_output(folder: Path, scans: Path, *, resume: bool) -> None:
    """Refuse a folder that is not ours to fill.

    Raises
    ------
    UserError
        If it is that of the scans, a file, or not empty although nothing is to be gone on with.
    """
    expected = "a new or empty folder"
    if folder.resolve() == scans.resolve():
        raise UserError(folder, "the folder of the scans", expected, "choose another with -o")
    if folder.exists() and not folder.is_dir():
        raise UserError(folder, "a file", expected, "choose another with -o")
    if not resume and folder.is_dir() and any(folder.iterdir()):
        raise UserError(folder, "files", expected, "go on with --continue, or choose another")


def prepare(cases: Sequence[Case], folder: Path, *, copy: bool = False) -> list[str]:
    """Place the scans of cases side by side, whole cases alone.

    Parameters
    ----------
    cases : sequence of Case
    folder : Path
        Receives `CASE_0000.nii.gz` and so on. Cases that are there already stay as they are.
    copy : bool
        Copy files that nnU-Net takes as they are; by default they are linked. Others are written
        anew: see `nnunet_dataset.place_case`.

    Returns
    -------
    list of str
        Cases whose scans cannot be used; a line on the screen says why.
    """
    from tqdm import tqdm

    from clisc_nnunet.dataset_conversion.nnunet_dataset import place_case

    failed = []
    unfinished = folder.absolute() / UNFINISHED
    try:
        for case in tqdm([case.absolute() for case in cases], desc="scans", unit="case"):
            names = [f"{case.name}_{n:04d}{FILE_ENDING}" for n in range(len(case.channels))]
            if all((folder / name).exists() for name in names):
                continue
            try:
                place_case(case.channels, case.image, case.name, unfinished, copy=copy)
            except ScanError as error:
                print(f"set aside: {error}", file=sys.stderr, flush=True)
                failed.append(case.name)
                continue
            for name in names:
                os.replace(DatasetLayout(unfinished).images / name, folder / name)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return failed


def make_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        prog="clisc_prepare_scans",
        description="Place new scans of any layout and format as the scans of the dataset were "
        "placed that a network has learnt from: CASE_0000.nii.gz, for nnUNetv2_predict -i.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-i", dest="scans", type=Path, required=True, metavar="SCANS", help="folder of scans"
    )
    parser.add_argument(
        "-o", dest="out", type=Path, required=True, metavar="OUT", help="a new folder"
    )
    add_input_arguments(parser)
    parser.add_argument("--copy", action="store_true", help="copy the scans; default: link them")
    parser.add_argument(
        "--continue", dest="resume", action="store_true", help="go on; cases that are there stay"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
