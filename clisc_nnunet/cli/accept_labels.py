"""The command `clisc_accept_labels`: corrected labels into a dataset, as trusted cases."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from clisc_nnunet.command_line import RUN_AGAIN, options_of, run
from clisc_nnunet.errors import EXIT_DONE, EXIT_SOME_CASES_FAILED

EPILOG = """\
FOLDER contains CASE.nii.gz, .nii, .nrrd, .seg.nrrd or .mha, as ITK-SNAP and 3D Slicer save them.
A label in another orientation, or cropped to its extent, is put back on the grid of its scan
without interpolation. Labels that were replaced are kept in clisc/replaced_labels.

exit status: 0 done; 2 bad input or call; 3 done, but some labels were refused; 5 disk full or not
writable; 130 interrupted (after 3, 5 and 130, the same command does the rest)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return run(make_parser(), argv, _accept, interrupted=RUN_AGAIN)


def _accept(namespace: argparse.Namespace) -> int:
    from clisc_nnunet.dataset_conversion.accept_labels import AcceptOptions, accept_labels

    result = accept_labels(options_of(AcceptOptions, namespace))
    print(result.text)
    return EXIT_SOME_CASES_FAILED if result.failed else EXIT_DONE


def make_parser() -> argparse.ArgumentParser:
    """Parser of the command, in nnU-Net's grammar."""
    parser = argparse.ArgumentParser(
        prog="clisc_accept_labels",
        description="Check corrected labels, put them into a dataset of "
        "clisc_make_pseudo_dataset, list their cases in trusted.txt, and preprocess them again "
        "where the dataset is preprocessed.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        metavar="FOLDER",
        help="corrected labels (default: those that were edited in labelsTr)",
    )
    parser.add_argument(
        "-d", dest="dataset_id", type=int, required=True, metavar="ID", help="dataset id"
    )
    parser.add_argument("-o", dest="root", type=Path, metavar="ROOT", help="default: $nnUNet_raw")
    parser.add_argument(
        "--any-label",
        action="store_true",
        help="take every value above 0 as tumour (default: a label may have one value)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be done, and write nothing"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
