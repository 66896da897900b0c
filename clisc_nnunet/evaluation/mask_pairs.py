"""Which prediction belongs to which reference."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clisc_nnunet.errors import ScanError, UserError, named
from clisc_nnunet.inputs.find_cases import scan_ending
from clisc_nnunet.io.volume import read_geometry, same_grid

# As BraTS ends the names of its references; 2020 has one `_Segm` among its `_seg`.
_SEGMENTATION = re.compile(r"[-_]segm?$", re.I)

Missing = Literal["error", "leave-out", "empty"]


@dataclass(frozen=True)
class Pair:
    """Files of one case; `prediction` is None where a missing one counts as empty."""

    case: str
    prediction: Path | None
    reference: Path


def find_masks(folder: Path) -> dict[str, Path]:
    """Masks of a folder by case.

    Parameters
    ----------
    folder : Path
        `CASE.nii.gz` as nnU-Net has it, `CASE_seg.nii.gz`, or folders `CASE/..._seg.nii.gz` as
        in BraTS (also `-seg`, and any other ending of a scan).

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
    """Pair the masks of two folders by case, and see to it that they lie on the same grids.

    Parameters
    ----------
    predictions, references : Path
    missing : {'error', 'leave-out', 'empty'}
        What becomes of references without a prediction.

    Returns
    -------
    pairs : list of Pair
        In order of case.
    left_out : list of str
        Cases that have no prediction and are not scored.

    Raises
    ------
    UserError
        If a prediction has no reference, or the other way round, or grids differ.
    """
    predicted, true = find_masks(predictions), find_masks(references)
    extra, absent = sorted(predicted.keys() - true.keys()), sorted(true.keys() - predicted.keys())
    if extra:
        raise UserError(
            predictions,
            f"{len(extra)} predictions without a reference in {references} ({named(extra)})",
            "a reference for each prediction",
            "check that the names agree, or move these elsewhere",
        )
    if absent and missing == "error":
        raise UserError(
            predictions,
            f"no prediction for {len(absent)} of {len(true)} references ({named(absent)})",
            "a prediction for each reference",
            "give --missing empty to score these as empty masks, or --missing leave-out",
        )
    cases = sorted(true if missing == "empty" else predicted)
    pairs = [Pair(case, predicted.get(case), true[case]) for case in cases]
    _refuse_other_grids(pairs)
    return pairs, absent if missing == "leave-out" else []


def _refuse_other_grids(pairs: Iterable[Pair]) -> None:
    """Before the work starts: headers are read in no time."""
    wrong = []
    for pair in pairs:
        grid = read_geometry(pair.reference)
        if len(grid.size) != 3:
            raise ScanError(
                pair.reference, f"{len(grid.size)}D", "one 3D mask", "write a 3D volume"
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
    """What lies in a folder; macOS puts a hidden `._NAME` beside every file of a foreign disk."""
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]


def _is_scan(path: Path) -> bool:
    return scan_ending(path) is not None and path.is_file()


def _stem(path: Path) -> str:
    return path.name[: -len(scan_ending(path) or "") or None]
