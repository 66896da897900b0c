"""Which voxels of a label are tumour, from the values that a program or a person has saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clisc_nnunet.errors import MAX_NAMES, ScanError

ANY_LABEL = "--any-label"
_EXPECTED = "0 for background and 1 for tumour"


def tumour_mask(
    path: Path, values: np.ndarray, *, any_label: bool = False
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Tumour voxels of a label.

    Parameters
    ----------
    path : Path
        File of the label, for messages.
    values : ndarray
        Of any shape and dtype.
    any_label : bool
        All values above 0 are tumour. Otherwise one value is, whichever it is.

    Returns
    -------
    mask : bool ndarray
    notes : tuple of str
        What was assumed, and what is unusual about the label.

    Raises
    ------
    ScanError
        If there are values that are no label, or several labels without `any_label`.
    """
    unlabelled = int((~np.isfinite(values)).sum())
    if unlabelled:
        found = f"{unlabelled} voxels that are NaN or infinite"
        raise ScanError(path, found, _EXPECTED, "save it again as a label map")
    mask = values != 0
    labels = np.unique(values[mask])
    negative, broken = labels[labels < 0], labels[labels != np.rint(labels)]
    if len(negative):
        raise ScanError(path, f"the value {negative[0]:g}", _EXPECTED, "replace it by 0 or 1")
    if len(broken):
        found = f"the value {broken[0]:g}"
        raise ScanError(path, found, _EXPECTED, "save a label map, not probabilities")
    if len(labels) > 1 and not any_label:
        raise ScanError(
            path,
            f"the values {_listed(labels)}",
            _EXPECTED,
            f"clisc_accept_labels {ANY_LABEL} takes every value above 0 as tumour",
        )
    notes = []
    if len(labels) > 1 or (len(labels) == 1 and labels[0] != 1):
        notes.append(f"{_listed(labels)} taken as tumour")
    if not mask.any():
        notes.append("warning: no voxel is labelled")
    elif mask.all():
        notes.append("warning: all voxels are labelled")
    return mask, tuple(notes)


def _listed(labels: np.ndarray) -> str:
    text = ", ".join(f"{label:g}" for label in labels[:MAX_NAMES])
    more = len(labels) - MAX_NAMES
    return text + (f" and {more} more" if more > 0 else "")
