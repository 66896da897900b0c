"""Match predictions with references by case name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clisc_nnunet.dataset_layout import phantoms_beside
from clisc_nnunet.errors import ScanError, UserError, named
from clisc_nnunet.evaluation.find_masks import find_masks, mask_key
from clisc_nnunet.io.volume import read_geometry, same_grid

Missing = Literal["error", "leave-out", "empty"]


@dataclass(frozen=True)
class Pair:
    """Files of one case; `prediction` is None if it is missing and counts as empty."""

    case: str
    prediction: Path | None
    reference: Path


def pair_masks(
    predictions: Path, references: Path, missing: Missing = "error", mask_name: str = ""
) -> tuple[list[Pair], list[str]]:
    """Pair the masks of two folders by case, and check that their grids match.

    Parameters
    ----------
    predictions, references : Path
        Folders, see `find_masks`. Phantoms among the labels of a dataset are not scored.
    missing : {'error', 'leave-out', 'empty'}
        What to do with references that have no prediction.
    mask_name : str
        Name of the references' masks, see `find_masks`.

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
    predicted = find_masks(predictions)
    true = renamed(find_masks(references, mask_name), predicted)
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


def renamed(references: dict[str, Path], cases: Collection[str]) -> dict[str, Path]:
    """References under the names of cases, where only words for masks and scans differ.

    `6_gt_isovox` is the reference of `6_FLAIR_isovox`; names that do not match are kept.
    """
    unmatched = [case for case in cases if case not in references]
    keys = Counter(mask_key(case) for case in unmatched)
    own = Counter(mask_key(name) for name in references if name not in cases)
    by_key = {mask_key(case): case for case in unmatched}
    result = {}
    for name, path in references.items():
        key = mask_key(name)
        unique = name not in cases and key and keys[key] == own[key] == 1
        result[by_key[key] if unique else name] = path
    return result


def _check_same_grids(pairs: Iterable[Pair]) -> None:
    """Raise if grids differ; reads only the headers, so that it fails before the work starts."""
    wrong = []
    for pair in pairs:
        grid = read_geometry(pair.reference)
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
