"""Score a folder of predictions against references (the work of `clisc_evaluate`)."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from clisc_nnunet import __version__
from clisc_nnunet.errors import ScanError, UserError, named
from clisc_nnunet.evaluation.bootstrap import DRAWS, LEVEL
from clisc_nnunet.evaluation.case_scores import CaseScores, read_prediction, score_pair
from clisc_nnunet.evaluation.mask_pairs import Missing, Pair, pair_masks
from clisc_nnunet.evaluation.page import Picture, render
from clisc_nnunet.evaluation.plots import outlines
from clisc_nnunet.evaluation.summary import (
    Summary,
    by_dice,
    empty_cases,
    representative_cases,
    summarise,
    sums,
)
from clisc_nnunet.evaluation.tables import markdown, shown, to_csv, to_json
from clisc_nnunet.inputs.channels import FLAIR
from clisc_nnunet.inputs.find_cases import find_label_channel_scans
from clisc_nnunet.io.atomic_write import write_text
from clisc_nnunet.io.volume import Source, read_geometry, read_mask, read_volume, same_grid
from clisc_nnunet.processes import make_executor

# Columns printed to the screen; the files contain all of them.
ON_SCREEN = ("case", "dice", "hd95_mm", "surface_dice", "precision", "recall", "predicted_ml")


@dataclass(frozen=True)
class EvaluationOptions:
    """Options of `clisc_evaluate`; names as in its help."""

    predictions: Path
    references: Path
    out: Path | None = None
    images: Path | None = None
    channels: tuple[str, ...] = ()
    label_channel: str = FLAIR
    labels: tuple[int, ...] = ()
    tolerance_mm: float = 1.0
    missing: Missing = "error"
    mask_name: str = ""
    """Ending, words or pattern of the references' names."""
    processes: int = 2
    seed: int = 0


@dataclass(frozen=True)
class Evaluation:
    """Result of an evaluation.

    Parameters
    ----------
    scores : tuple of CaseScores
        Sorted by case name.
    left_out : tuple of str
        Cases without a prediction that were not scored.
    text : str
        Tables and notes, as printed.
    """

    scores: tuple[CaseScores, ...]
    summary: tuple[Summary, ...]
    left_out: tuple[str, ...]
    text: str


def evaluate(options: EvaluationOptions) -> Evaluation:
    """Score every prediction, summarise, and write the files if `out` is given.

    Raises
    ------
    UserError
        If a prediction has no reference or vice versa, grids differ, a file cannot be read, or no
        reference contains the labels. Nothing is written in these cases.
    """
    _check_options(options)
    pairs, left_out = pair_masks(
        options.predictions, options.references, options.missing, options.mask_name
    )
    images = _images(options, pairs)
    scores = _score(options, pairs)
    if options.labels and not any(s.reference_ml for s in scores):
        raise UserError(
            "--label-of-interest",
            f"no voxel of label {' or '.join(map(str, options.labels))} in any reference",
            "labels that occur in the references",
            "check the labels",
        )
    summary = summarise(scores, options.seed)
    notes = explain(options, scores, left_out, summary)
    if options.out is not None:
        _write(options, pairs, images, scores, summary, left_out, notes)
    text = "\n\n".join([markdown(_screen_rows(scores)), markdown(summary_rows(summary)), *notes])
    return Evaluation(tuple(scores), tuple(summary), tuple(left_out), text)


def explain(
    options: EvaluationOptions,
    scores: Sequence[CaseScores],
    left_out: Sequence[str],
    summary: Sequence[Summary],
) -> list[str]:
    """Notes below the tables: labels and methods, lesions, empty masks, cases not scored."""
    what = f"labels {', '.join(map(str, options.labels))}" if options.labels else "label above 0"
    counts, empty = sums(scores), empty_cases(scores)
    notes = [
        f"{len(scores)} cases, {what}; distances in mm by surface-distance "
        f"{version('surface-distance')}, surface Dice within {options.tolerance_mm:g} mm; "
        f"{LEVEL:.0%} confidence intervals of the mean by {DRAWS} bootstraps over the cases, "
        f"seed {options.seed}.",
        f"Lesions: {counts['lesions_found']} of {counts['lesions']} found; "
        f"{counts['lesions_false']} of {counts['lesions_predicted']} predicted lesions are false.",
    ]
    if empty.one_sided:
        hd95 = next(s for s in summary if s.measure == "hd95_mm")
        notes.append(
            f"Only the prediction is empty: {named(empty.prediction) or 'none'}; only the "
            f"reference: {named(empty.reference) or 'none'}. Their Dice is 0 and is "
            f"included; distances are undefined, so HD95 is the mean of {hd95.cases} of "
            f"{len(scores)} cases."
        )
    if empty.both:
        notes.append(
            f"Correctly empty in both: {named(empty.both)}. Their Dice is undefined; they are only "
            "included in the mean volumes."
        )
    if left_out:
        notes.append(f"Not scored, no prediction: {len(left_out)} ({named(left_out)}).")
    return notes


def summary_rows(summary: Sequence[Summary]) -> list[dict[str, str]]:
    """Table rows, formatted with the precision of each measure."""
    return [
        {
            "measure": s.measure,
            "cases": str(s.cases),
            "mean": shown(s.measure, s.mean),
            "95 % interval": f"{shown(s.measure, s.low)} to {shown(s.measure, s.high)}",
            "sd": shown(s.measure, s.sd),
            "median": shown(s.measure, s.median),
            "range": f"{shown(s.measure, s.smallest)} to {shown(s.measure, s.largest)}",
        }
        for s in summary
    ]


def _check_options(options: EvaluationOptions) -> None:
    """Raise for invalid options, before any file is read."""
    checks = (
        (options.processes >= 1, "-np", options.processes, "1 or more"),
        (options.seed >= 0, "--seed", options.seed, "0 or more"),
        (options.tolerance_mm >= 0, "--tolerance", options.tolerance_mm, "0 mm or more"),
        (
            all(label > 0 for label in options.labels),
            "--label-of-interest",
            options.labels,
            "labels above 0 (0 is background)",
        ),
        (
            options.predictions.resolve() != options.references.resolve(),
            "-p and -r",
            options.predictions,
            "two different folders",
        ),
    )
    for valid, where, found, expected in checks:
        if not valid:
            raise UserError(where, str(found), expected, "change the option")
    check_out(options.out)


def check_out(out: Path | None) -> None:
    """Raise if the output folder, or one of its parents, is a file; None is accepted.

    Raises
    ------
    UserError
    """
    for path in (out, *out.parents) if out is not None else ():
        if path.exists() and not path.is_dir():
            raise UserError(
                "-o", f"{path}, a file", "a folder, or a path that does not exist", "choose another"
            )


def _screen_rows(scores: Sequence[CaseScores]) -> list[dict[str, Any]]:
    return [{key: getattr(s, key) for key in ON_SCREEN} for s in by_dice(scores)]


def _score(options: EvaluationOptions, pairs: Sequence[Pair]) -> list[CaseScores]:
    score = partial(score_pair, labels=options.labels, tolerance_mm=options.tolerance_mm)
    with make_executor(options.processes) as executor:
        try:
            # With one process, `map` is lazy, so that the progress bar advances case by case.
            results = executor.map(score, pairs) if options.processes > 1 else map(score, pairs)
            return list(tqdm(results, "scoring", len(pairs), unit="case"))
        except BrokenExecutor:
            found = "a worker process that died, possibly out of memory"
            expected = "all cases scored"
            raise UserError(f"-np {options.processes}", found, expected, "use -np 1") from None


def _images(options: EvaluationOptions, pairs: Sequence[Pair]) -> dict[str, Source]:
    """Scan of each case that has one."""
    if options.images is None:
        return {}
    found = find_label_channel_scans(options.images, options.channels, options.label_channel)
    images = {pair.case: found[pair.case] for pair in pairs if pair.case in found}
    if not images:
        raise UserError(
            options.images,
            f"{len(found)} scans, none of a scored case",
            f"scans of {named(pair.case for pair in pairs)}",
            "check that the names match",
        )
    return images


def _write(
    options: EvaluationOptions,
    pairs: Sequence[Pair],
    images: dict[str, Source],
    scores: Sequence[CaseScores],
    summary: Sequence[Summary],
    left_out: Sequence[str],
    notes: Sequence[str],
) -> None:
    out = Path(options.out or "")
    rows = [asdict(s) for s in scores]
    empty = empty_cases(scores)
    record = {
        "clisc_nnunet": __version__,
        "surface_distance": version("surface-distance"),
        "predictions": str(options.predictions),
        "references": str(options.references),
        "labels": options.labels or "above 0",
        "tolerance_mm": options.tolerance_mm,
        "missing": options.missing,
        "bootstrap": {"draws": DRAWS, "level": LEVEL, "seed": options.seed},
        "summary": {s.measure: asdict(s) for s in summary},
        "sums": sums(scores),
        "empty": asdict(empty),
        "left_out": list(left_out),
        "cases": rows,
    }
    by_case = {pair.case: pair for pair in pairs}
    pictures = [
        Picture(title, s, _picture(by_case[s.case], images.get(s.case), options.labels))
        for title, s in representative_cases(scores).items()
    ]
    heading = f"Evaluation of {options.predictions.name}"
    page = render(heading, summary_rows(summary), scores, notes, pictures)
    write_text(out / "evaluation.csv", to_csv(rows))
    write_text(out / "evaluation.html", page)
    write_text(out / "evaluation.json", to_json(record))


def _picture(pair: Pair, scan: Source | None, labels: tuple[int, ...]) -> bytes:
    grid = read_geometry(pair.reference)
    # An unusable scan is no reason to fail; only the outlines are drawn then.
    image = None
    if scan is not None:
        with contextlib.suppress(ScanError):
            image = read_volume(scan)
    if image is not None and not same_grid(image.geometry, grid):
        image = None
    x, y, z = grid.spacing
    return outlines(
        None if image is None else image.array,
        read_prediction(pair.prediction, grid, labels),
        read_mask(pair.reference, grid, labels),
        (z, y, x),
    )
