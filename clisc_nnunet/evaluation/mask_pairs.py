"""Match predictions with references by case name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clisc_nnunet.dataset_layout import phantoms_beside
from clisc_nnunet.errors import ScanError, UserError, named
from clisc_nnunet.inputs.find_cases import scan_ending
from clisc_nnunet.io.volume import read_geometry, same_grid

# Suffix of BraTS references; BraTS 2020 has one `_Segm` among its `_seg`.
_SEGMENTATION = re.compile(r"[-_]segm?$", re.I)

Missing = Literal["error", "leave-out", "empty"]


@dataclass(frozen=True)
class Pair:
    """Files of one case; `prediction` is None if it is missing and counts as empty."""

    case: str
    prediction: Path | None
    reference: Path


def find_masks(folder: Path) -> dict[str, Path]:
    """Masks of a folder by case.

    Parameters
    ----------
    folder : Path
        Contains `CASE.nii.gz` as in nnU-Net, `CASE_seg.nii.gz`, or folders
        `CASE/..._seg.nii.gz` as in BraTS (`-seg` and other image formats work, too).

    Raises
    ------
    UserError
        If there is no mask, or more than one for a case.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise UserError(folder, found, "a folder of masks", "check the path")
    entries = _visible(folder)
    masks = [(_SEGMENTATION.sub("", _stem(p)), p) for p in entries if _is_scan(p)]
    for inner in (entry for entry in entries if entry.is_dir()):
        masks += [
            (inner.name, path)
            for path in _visible(inner)
            if _is_scan(path) and _SEGMENTATION.search(_stem(path))
        ]
    if not masks:
        raise UserError(
            folder,
            f"no mask among {len(entries)} files and folders",
            "CASE.nii.gz, or CASE/CASE_seg.nii.gz",
            "check the path and the names",
        )
    twice = [case for case, count in Counter(case for case, _ in masks).items() if count > 1]
    if twice:
        raise UserError(
            folder, f"several masks of {named(twice)}", "one per case", "remove all but one"
        )
    return dict(masks)


def pair_masks(
    predictions: Path, references: Path, missing: Missing = "error"
) -> tuple[list[Pair], list[str]]:
    """Pair the masks of two folders by case, and check that their grids match.

    Parameters
    ----------
    predictions, references : Path
        Folders, see `find_masks`. Phantoms among the labels of a dataset are not scored.
    missing : {'error', 'leave-out', 'empty'}
        What to do with references that have no prediction.

    Returns
    -------
    pairs : list of Pair
        Sorted by case name.
    left_out : list of str
        Cases without a prediction, which are not scored.

    Raises
    ------
    UserError
        If a prediction has no reference or vice versa, or grids differ.
    """
    predicted, true = find_masks(predictions), find_masks(references)
    for phantom in phantoms_beside(predictions):
        predicted.pop(phantom, None)
    extra, absent = sorted(predicted.keys() - true.keys()), sorted(true.keys() - predicted.keys())
    if extra:
        raise UserError(
            predictions,
            f"{len(extra)} predictions without a reference in {references} ({named(extra)})",
            "a reference for each prediction",
            "check that the names match, or move these files elsewhere",
        )
    if absent and missing == "error":
        raise UserError(
            predictions,
            f"no prediction for {len(absent)} of {len(true)} references ({named(absent)})",
            "a prediction for each reference",
            "use --missing empty to score them as empty masks, or --missing leave-out to skip them",
        )
    cases = sorted(true if missing == "empty" else predicted)
    pairs = [Pair(case, predicted.get(case), true[case]) for case in cases]
    _check_same_grids(pairs)
    return pairs, absent if missing == "leave-out" else []


def _check_same_grids(pairs: Iterable[Pair]) -> None:
    """Raise if grids differ; reads only the headers, so that it fails before the work starts."""
    wrong = []
    for pair in pairs:
        grid = read_geometry(pair.reference)
        if len(grid.size) != 3:
            raise ScanError(
                pair.reference, f"{len(grid.size)}D", "a 3D mask", "save it as a 3D volume"
            )
        if pair.prediction is not None:
            found = read_geometry(pair.prediction)
            if not same_grid(found, grid):
                wrong.append((pair, found, grid))
    if wrong:
        pair, found, grid = wrong[0]
        others = f"; {len(wrong) - 1} more cases differ too" if len(wrong) > 1 else ""
        raise ScanError(
            str(pair.prediction),
            f"a grid of {found.size} voxels of {found.spacing} mm at {found.origin}{others}",
            f"that of {pair.reference}: {grid.size} voxels of {grid.spacing} mm at {grid.origin}",
            "resample the prediction to its scan's grid",
        )


def _visible(folder: Path) -> list[Path]:
    """Entries of a folder, without hidden files such as the `._NAME` that macOS creates."""
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]


def _is_scan(path: Path) -> bool:
    return scan_ending(path) is not None and path.is_file()


def _stem(path: Path) -> str:
    return path.name[: -len(scan_ending(path) or "") or None]
