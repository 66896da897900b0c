"""The command `clisc_prepare_scans`: prepare any folder of scans for `nnUNetv2_predict -i`.

A network expects the same input as it was trained on, as written by `clisc_make_pseudo_dataset`:
NIfTI files named by case and channel, with one grid per case and a background of 0.
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
)
from clisc_nnunet.io.paths import check_output

if TYPE_CHECKING:
    from clisc_nnunet.inputs.cases import Case

EPILOG = """Use the same --channels and --prompt-channel as for making the dataset.

exit status: 0 done; 2 bad input or call; 3 done, but some cases were skipped; 5 disk full or
not writable; 130 interrupted (after 5 and 130, resume with --continue)
"""
# Folder for incomplete cases, which nnU-Net would segment beside the others.
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
    check_output(out, scans, reuse=namespace.resume, option="--continue")
    failed = prepare(found.cases, out, copy=namespace.copy)
    done = len(found.cases) - len(failed)
    print(f"{done} cases in {out}, for nnUNetv2_predict -i")
    if done == 0:
        return EXIT_BAD_INPUT
    return EXIT_SOME_CASES_FAILED if failed or found.faults else EXIT_DONE


def prepare(cases: Sequence[Case], folder: Path, *, copy: bool = False) -> list[str]:
    """Write the scans of cases into one folder; all channels of a case or none.

    Parameters
    ----------
    folder : Path
        Output folder of `CASE_0000.nii.gz` and so on. Existing cases are not changed.
    copy : bool
        Copy files that nnU-Net can read unchanged; by default they are linked. Others are
        converted, see `nnunet_dataset.place_case`.

    Returns
    -------
    list of str
        Cases with unusable scans; the reason is printed.
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
                for repair in place_case(
                    case.channels, case.image, case.name, unfinished, copy=copy
                ):
                    tqdm.write(repair)
            except ScanError as error:
                print(f"skipped: {error}", file=sys.stderr, flush=True)
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
        description="Prepare new scans of any layout and format for nnUNetv2_predict -i, in the "
        "same way as the training images of a dataset: CASE_0000.nii.gz.",
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
        "--continue", dest="resume", action="store_true", help="resume; existing cases are kept"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
