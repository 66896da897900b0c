"""Figures of every stage of a conversion: `python -m benchmarks.evaluate_stages -d FOLDER -r REFS`.

Prints Markdown tables: Dice per case and stage with the worst three cases, and slice labels.
With `--no-tumour` in place of `-r` no scan shows a tumour, and slices called one are counted.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clisc_nnunet.errors import UserError
from clisc_nnunet.evaluation.scores import slice_scores
from clisc_nnunet.evaluation.stages import (
    CLASSIFIERS,
    CLEAR_MM2,
    CaseStages,
    score_case,
    tumour_shares,
)
from clisc_nnunet.evaluation.tables import markdown, to_csv, to_json
from clisc_nnunet.slice_labels import TUMOUR, UNSURE
from clisc_nnunet.store import write_text

Row = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-d", type=Path, required=True, metavar="DATASET", help="dataset folder")
    truth = parser.add_mutually_exclusive_group(required=True)
    truth.add_argument("-r", type=Path, metavar="REFERENCES", help="folder of CASE.nii.gz")
    truth.add_argument("--no-tumour", action="store_true", help="no scan shows a tumour")
    parser.add_argument("-o", type=Path, metavar="OUT.csv", help="figures; OUT.json beside it")
    arguments = parser.parse_args(argv)
    try:
        outcomes = read_outcomes(arguments.d)
        cases = [
            score_case(arguments.d, name, arguments.r and arguments.r / f"{name}.nii.gz")
            for name, row in outcomes.items()
            if row["status"] != "failed"
        ]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status

    rows = case_rows(cases) if arguments.r else share_rows(cases, outcomes)
    slices = slice_rows(cases) if arguments.r else []
    mean = {"case": "mean", **means(rows)}
    blocks = [run_line(arguments.d), markdown([*rows, mean])]
    if arguments.r:
        truths = np.concatenate([c.slices.truth for c in cases])
        scored = [row["case"] for row in rows if not math.isnan(row["pseudo-label"])]
        blocks += [
            f"Worst three by pseudo-label: {', '.join(scored[:3])}. Without a Dice, as there is "
            f"neither tumour nor label, and not in its mean: {len(rows) - len(scored)}.",
            markdown(slices),
            f"{len(truths)} clear slices (no tumour, or {CLEAR_MM2:g} square mm or more), "
            f"{truths.mean():.0%} of them with a tumour.",
        ]
    failed = [name for name, row in outcomes.items() if row["status"] == "failed"]
    if failed:
        blocks.append(f"Failed, not scored: {', '.join(failed)}.")
    print("\n\n".join(block for block in blocks if block))
    if arguments.o is not None:
        write_figures(arguments.o, rows, {"mean": mean, "slices": slices, "failed": failed})
    return 0


def read_outcomes(dataset: Path) -> dict[str, dict[str, str]]:
    """Lines of the conversion's `cases.csv` by case.

    Raises
    ------
    UserError
        If there is no such file, or no case that can be scored.
    """
    path = dataset / "clisc" / "cases.csv"
    try:
        with path.open(encoding="utf-8") as file:
            outcomes = {row["case"]: row for row in csv.DictReader(file)}
    except OSError as error:
        raise UserError(path, str(error.strerror), "a finished conversion", "check -d") from None
    if all(row["status"] == "failed" for row in outcomes.values()):
        raise UserError(path, "failed cases only", "cases to score", "see the reasons there")
    return outcomes


def case_rows(cases: Sequence[CaseStages]) -> list[Row]:
    """Dice of every stage, a row per case; the worst pseudo-label first, undefined ones last."""
    rows = [
        {
            "case": c.case,
            **c.dice,
            "precision": c.precision,
            "sensitivity": c.sensitivity,
            "true ml": c.truth_ml,
            "label ml": c.label_ml,
        }
        for c in cases
    ]
    return sorted(rows, key=lambda row: np.nan_to_num(row["pseudo-label"], nan=2.0))


def slice_rows(cases: Sequence[CaseStages]) -> list[Row]:
    """How well every stage tells slices apart, over the clear slices of all cases."""
    truth = np.concatenate([c.slices.truth for c in cases])
    clip = np.concatenate([c.slices.clip for c in cases])
    rows = [{"slice labels": "CLIP", "left out": 0.0, **slice_scores(clip, clip > 0.5, truth)}]
    for name in ("sure", "voted"):
        label = np.concatenate([getattr(c.slices, name) for c in cases])
        kept = label != UNSURE
        scores = slice_scores(clip[kept], label[kept] == TUMOUR, truth[kept])
        rows.append({"slice labels": f"CLIP, {name}", "left out": float(1 - kept.mean()), **scores})
    for name in CLASSIFIERS:
        if all(name in c.slices.classifiers for c in cases):
            p = np.concatenate([c.slices.classifiers[name] for c in cases])
            scores = slice_scores(p, p > 0.5, truth)
            rows.append({"slice labels": f"{name} classifier", "left out": 0.0, **scores})
    return rows


def share_rows(cases: Sequence[CaseStages], outcomes: dict[str, dict[str, str]]) -> list[Row]:
    """Share of slices that every stage calls tumour, a row per case."""
    return [
        {
            "case": c.case,
            **tumour_shares(c.slices),
            "label ml": c.label_ml,
            "IoU by SAM": float(outcomes[c.case]["predicted_iou"]),
        }
        for c in cases
    ]


def means(rows: Sequence[Row]) -> dict[str, float]:
    """Mean of every column of figures over the rows where it is defined, else NaN."""
    found = {}
    for key in [key for key in rows[0] if key != "case"]:
        values = [row[key] for row in rows if not math.isnan(row[key])]
        found[key] = sum(values) / len(values) if values else math.nan
    return found


def run_line(dataset: Path) -> str:
    """Seconds per stage and peak memory; empty if the conversion ended without a dataset."""
    path = dataset / "clisc" / "run.json"
    if not path.exists():
        return ""
    record = json.loads(path.read_text(encoding="utf-8"))
    total = max(record["seconds"]["total"], 0.1)
    parts = ", ".join(
        f"{stage} {spent:.0f} ({spent / total:.0%})"
        for stage, spent in record["seconds"].items()
        if stage != "total"
    )
    return f"{total:.0f} s in all: {parts}; peak memory {record['peak_memory_gb']} GB"


def write_figures(path: Path, rows: Sequence[Row], others: dict[str, Any]) -> None:
    """Write the rows of the cases as CSV, and everything as JSON beside it; NaN becomes null."""
    write_text(path, to_csv(rows))
    write_text(path.with_suffix(".json"), to_json({"cases": list(rows), **others}))


if __name__ == "__main__":
    sys.exit(main())
