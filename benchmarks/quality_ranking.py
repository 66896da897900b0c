"""Compare the label-free ranking of predictions with their true Dice.

`python -m benchmarks.quality_ranking -i IMAGES -p PREDICTIONS -r REFERENCES` runs
`clisc_estimate_quality` (or, with `-q`, reads its output) and compares it with the references:
Spearman's correlation of the score and of each measure with Dice, and the mean Dice after
excluding the fifth of the cases with the lowest score.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from clisc_nnunet.errors import UserError
from clisc_nnunet.io.volume import read_geometry, read_mask
from clisc_nnunet.metrics import dice
from clisc_nnunet.quality_control.prediction_scores import MEASURES, CaseQuality
from clisc_nnunet.quality_control.score_predictions import (
    QualityOptions,
    estimate_quality,
    find_predictions,
)

EXCLUDED_SHARE = 0.2
RESAMPLES = 2000


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("-i", type=Path, metavar="IMAGES", help="folder of the scans")
    source.add_argument("-q", type=Path, metavar="QUALITY.json", help="output of an earlier run")
    parser.add_argument("-p", type=Path, required=True, metavar="PREDICTIONS")
    parser.add_argument("-r", type=Path, required=True, metavar="REFERENCES", help="CASE.nii.gz")
    parser.add_argument("-o", type=Path, metavar="OUT", help="folder of the estimate's files")
    parser.add_argument("-np", type=int, default=1, metavar="N")
    arguments = parser.parse_args(argv)
    try:
        if arguments.q is not None:
            cases = read_estimate(arguments.q)
        else:
            options = QualityOptions(
                arguments.i, arguments.p, arguments.o, processes=arguments.np, resume=True
            )
            cases = estimate_quality(options).cases
        true_dice = score_predictions(arguments.p, arguments.r, [c.case for c in cases])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    print(as_markdown(cases, true_dice))
    return 0


def read_estimate(path: Path) -> list[CaseQuality]:
    """Cases of a quality.json, ordered by rank."""
    try:
        return [CaseQuality(**case) for case in json.loads(path.read_text("utf-8"))["cases"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(path, str(error), "a quality.json", "run it again with -i") from None


def score_predictions(
    predictions: Path, references: Path, cases: Sequence[str]
) -> dict[str, float]:
    """True Dice of each case, NaN if prediction and reference are empty."""
    files = find_predictions(predictions)
    found = {}
    for case in cases:
        grid = read_geometry(files[case])
        truth = read_mask(references / f"{case}.nii.gz", grid)
        found[case] = dice(read_mask(files[case], grid), truth)
    return found


def spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Rank correlation of two float arrays (..., n) along the last axis; NaN if one is constant."""
    ranks = [rankdata(values, axis=-1) for values in (first, second)]
    one, two = (r - r.mean(axis=-1, keepdims=True) for r in ranks)
    norm = np.sqrt((one**2).sum(axis=-1) * (two**2).sum(axis=-1))
    return np.where(norm > 0, (one * two).sum(axis=-1) / np.maximum(norm, 1e-12), np.nan)


def interval(first: np.ndarray, second: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % interval of `spearman`, by bootstrap over the cases; NaN if undefined."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(first), size=(RESAMPLES, len(first)))
    values = spearman(first[draws], second[draws])
    defined = values[~np.isnan(values)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def mean_after_exclusion(trust: np.ndarray, true_dice: np.ndarray, share: float) -> float:
    """Mean Dice after excluding the share of the cases with the lowest trust.

    Parameters
    ----------
    trust : float ndarray of shape (n,)
    true_dice : float ndarray of shape (n,)
    share : float
        Rounded to a number of cases. Ties are excluded in order.
    """
    order = np.argsort(trust, kind="stable")
    return float(true_dice[order[round(share * len(order)) :]].mean())


def as_markdown(cases: Sequence[CaseQuality], true_dice: Mapping[str, float]) -> str:
    """Tables of the cases, least trusted first, and of the measures."""
    ranked = [c for c in cases if c.rank is not None and not np.isnan(true_dice[c.case])]
    truth = np.array([true_dice[c.case] for c in ranked])
    lines = [
        "| rank | case | score | similarity | IoU by SAM | stability | ml | Dice |",
        "| --- " * 8 + "|",
    ]
    for case, value in zip(ranked, truth, strict=True):
        figures = " | ".join(_shown(getattr(case, name)) for name in ("score", *MEASURES))
        lines.append(
            f"| {case.rank} | {case.case} | {figures} | {case.volume_ml:.1f} | {value:.3f} |"
        )
    excluded = round(EXCLUDED_SHARE * len(ranked))
    lines += [
        "",
        f"{len(ranked)} cases ({len(cases) - len(ranked)} not ranked, or without tumour and "
        f"prediction). Mean Dice of all {truth.mean():.3f}; after excluding the worst {excluded} "
        f"by true Dice (upper bound) {mean_after_exclusion(truth, truth, EXCLUDED_SHARE):.3f}.",
        "",
        "| by | Spearman with Dice | 95 % | Dice after exclusion |",
        "| --- | --- | --- | --- |",
    ]
    # Empty predictions have no measures; they rank lowest in all of them.
    rows = {
        name: np.array([_or_lowest(getattr(c, name)) for c in ranked])
        for name in ("score", *MEASURES, "volume_ml")
    }
    # An alternative definition of the score.
    rows["mean rank"] = np.mean([rankdata(rows[name]) for name in MEASURES], axis=0)
    for name, trust in rows.items():
        low, high = interval(trust, truth)
        lines.append(
            f"| {name} | {spearman(trust, truth):.2f} | {low:.2f} to {high:.2f} "
            f"| {mean_after_exclusion(trust, truth, EXCLUDED_SHARE):.3f} |"
        )
    return "\n".join(lines)


def _or_lowest(value: float | None) -> float:
    return -1.0 if value is None else value


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main())
