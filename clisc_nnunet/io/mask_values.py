"""Recognise masks and label maps by their values."""

from __future__ import annotations

import numpy as np

from clisc_nnunet.errors import ScanError

# More values than a label map of a lesion or of brain tissues has.
MAX_LABELS = 64
# Share of neighbouring voxels above the background that have the same value. In MR scans, noise
# leaves it below 0.5 even if the intensities are stored in few steps.
MIN_CONSTANT = 0.8
# About this many planes are looked at first: enough to recognise a scan quickly.
_SAMPLE = 8


def check_is_scan(source: object, array: np.ndarray) -> None:
    """Check that the values of a volume are not those of a mask, whatever its name.

    Raises
    ------
    ScanError
        If `looks_like_mask` is true.
    """
    if looks_like_mask(array):
        values = np.unique(array)
        raise ScanError(
            source,
            f"{len(values)} values from {values[0]:g} to {values[-1]:g}, constant over regions: a "
            "mask or label map",
            "a scan",
            "name the scan, e.g. --channels flair=ENDING, or remove this file",
        )


def looks_like_mask(array: np.ndarray) -> bool:
    """Whether a volume has a few integer values and is constant over its regions.

    Parameters
    ----------
    array : ndarray of shape (plane, row, column)

    Returns
    -------
    bool
        True for masks, label maps and parcellations, in any dtype; False for scans, and for
        probability maps.
    """
    sample = array[:: max(len(array) // _SAMPLE, 1)]
    return all(_few_integers(part) and _constant(part) for part in (sample, array))


def _few_integers(array: np.ndarray) -> bool:
    if not np.array_equal(array, np.rint(array)):
        return False
    low, high = float(array.min()), float(array.max())
    if high - low < 1 << 16:
        counts = np.bincount((array - low).astype(np.intp).ravel())
        return int(np.count_nonzero(counts)) <= MAX_LABELS
    return len(np.unique(array)) <= MAX_LABELS


def _constant(array: np.ndarray) -> bool:
    inside = array != array.min()
    same = pairs = 0
    for axis in (1, 2):
        first = np.moveaxis(array, axis, 0)
        mask = np.moveaxis(inside, axis, 0)
        both = mask[1:] & mask[:-1]
        pairs += int(both.sum())
        same += int((both & (first[1:] == first[:-1])).sum())
    return same > 0 and same >= MIN_CONSTANT * pairs
