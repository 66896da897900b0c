"""Baseline without learning: `python -m benchmarks.otsu -i SCANS -r REFERENCES`.

Three-class Otsu inside the brain, the brightest class, a 3x3x3 opening, the largest component.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_opening
from skimage.filters import threshold_multiotsu

from clisc_nnunet.components import large_components
from clisc_nnunet.dataset_conversion.layouts import find_cases
from clisc_nnunet.errors import UserError
from clisc_nnunet.evaluation.scores import dice
from clisc_nnunet.slices import brain_mask
from clisc_nnunet.volume import read_mask, read_volume, write_volume


def brightest_class(array: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Largest bright piece of a scan.

    Parameters
    ----------
    array : float ndarray of shape (plane, row, column)
    brain : bool ndarray of the same shape

    Returns
    -------
    bool ndarray of the same shape
    """
    # A few voxels of vessels or fat must not stretch the histogram.
    low, high = np.percentile(array[brain], [1, 99.7])
    threshold = threshold_multiotsu(np.clip(array[brain], low, high), classes=3)[-1]
    opened = binary_opening((array > threshold) & brain, np.ones((3, 3, 3), bool))
    return large_components(opened, 1.0)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-i", type=Path, required=True, help="folder of scans")
    parser.add_argument("-r", type=Path, required=True, help="references, CASE.nii.gz")
    parser.add_argument("-o", type=Path, metavar="OUT", help="folder to write the masks into")
    arguments = parser.parse_args(argv)
    scores = []
    print("| case | Dice |\n| --- | --- |")
    try:
        for case in find_cases(arguments.i).cases:
            scan = read_volume(case.image)
            truth = read_mask(arguments.r / f"{case.name}.nii.gz", scan.geometry)
            found = brightest_class(scan.array, brain_mask(scan.array))
            if arguments.o is not None:
                write_volume(arguments.o / f"{case.name}.nii.gz", found, scan.geometry)
            scores.append(dice(found, truth))
            print(f"| {case.name} | {scores[-1]:.3f} |")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    print(f"| mean | {np.nanmean(scores):.3f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
