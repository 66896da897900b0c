"""Corrupt labels on purpose, to test whether filtering detects them.

`python -m benchmarks.spoilt_labels -i SCANS -r LABELS -o OUT` writes a folder of labels.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from clisc_nnunet.errors import UserError
from clisc_nnunet.inputs.find_cases import find_cases
from clisc_nnunet.io.atomic_write import write_text
from clisc_nnunet.io.volume import read_geometry, read_mask, read_volume, write_volume
from clisc_nnunet.stages.slice_extraction import foreground_mask

KINDS = ("shifted", "elsewhere", "half", "inflated", "empty", "other case")


def corrupt(
    label: np.ndarray, brain: np.ndarray, other: np.ndarray, kind: str, rng: np.random.Generator
) -> np.ndarray:
    """Add one kind of error to a label.

    Parameters
    ----------
    label : bool ndarray of shape (plane, row, column)
        Not empty.
    brain : bool ndarray of the same shape
        Errors are clipped to it.
    other : bool ndarray of any shape
        Label of another case, for the kind `other case`.
    kind : str
        One of `KINDS`: shifted by two thirds of its size; mirrored left to right; one half
        missing; dilated to three times its volume; empty; label of another case.
    rng : numpy.random.Generator

    Returns
    -------
    bool ndarray of the same shape
    """
    if kind == "shifted":
        where = ndimage.find_objects(label.astype(np.uint8))[0]
        extent = np.array([part.stop - part.start for part in where])
        steps = (extent * 2 / 3 * rng.choice([-1, 1], 3)).astype(int)
        return _moved(label, steps) & brain
    if kind == "elsewhere":
        return label[:, :, ::-1] & brain
    if kind == "half":
        axis = int(rng.integers(3))
        middle = np.median(np.nonzero(label)[axis])
        index = np.indices(label.shape, sparse=True)[axis]
        return label & (index < middle if rng.random() < 0.5 else index >= middle)
    if kind == "inflated":
        distance = ndimage.distance_transform_edt(~label)
        reach = np.sort(distance[brain])[min(3 * int(label.sum()), int(brain.sum()) - 1)]
        return (distance <= reach) & brain
    if kind == "empty":
        return np.zeros_like(label)
    if kind == "other case":
        return _fitted(other, label.shape) & brain
    raise ValueError(f"kind {kind!r}; expected one of {KINDS}")


def choose_corrupted_cases(
    cases: Sequence[str], share: float, rng: np.random.Generator
) -> dict[str, str]:
    """Choose a share of the cases and a kind of error for each, as evenly as possible."""
    count = round(share * len(cases))
    chosen = rng.choice(len(cases), count, replace=False)
    kinds = rng.permutation([KINDS[i % len(KINDS)] for i in range(count)])
    return {cases[i]: str(kind) for i, kind in zip(sorted(chosen), kinds, strict=True)}


def _moved(mask: np.ndarray, steps: np.ndarray) -> np.ndarray:
    return ndimage.shift(mask.astype(np.uint8), steps, order=0, prefilter=False).astype(bool)


def _fitted(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Pad or crop at the end of each axis to a shape."""
    fitted = np.zeros(shape, bool)
    common = tuple(slice(0, min(a, b)) for a, b in zip(mask.shape, shape, strict=True))
    fitted[common] = mask[common]
    return fitted


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-i", type=Path, required=True, metavar="SCANS", help="folder of scans")
    parser.add_argument("-r", type=Path, required=True, metavar="LABELS", help="CASE.nii.gz")
    parser.add_argument("-o", type=Path, required=True, metavar="OUT", help="a new folder")
    parser.add_argument(
        "--share", type=float, default=0.5, help="share of corrupted labels (default: 0.5)"
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    rng = np.random.default_rng(arguments.seed)
    try:
        images = {case.name: case.image for case in find_cases(arguments.i).cases}
        kinds = choose_corrupted_cases(list(images), arguments.share, rng)
        labels = {case: arguments.r / f"{case}.nii.gz" for case in images}
        # `other case` uses the label of the previous case; the first case, that of the last.
        files = list(labels.values())
        others = dict(zip(labels, files[-1:] + files[:-1], strict=True))
        for case, image in images.items():
            scan = read_volume(image)
            label = read_mask(labels[case], scan.geometry)
            if case in kinds and label.any():
                other = read_mask(others[case], read_geometry(others[case]))
                label = corrupt(label, foreground_mask(scan.array), other, kinds[case], rng)
            write_volume(arguments.o / f"{case}.nii.gz", label, scan.geometry)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    write_text(arguments.o / "spoilt.json", json.dumps(kinds, indent=1) + "\n")
    print(f"{len(images)} labels in {arguments.o}, {len(kinds)} of them corrupted")
    return 0


if __name__ == "__main__":
    sys.exit(main())
