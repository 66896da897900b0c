"""Figures of every stage of a conversion: `python -m benchmarks.evaluate_stages -d DATASET`.

Prints Markdown tables: Dice per case and stage, slice labels, and the worst three cases.
Without `-r` the scans are taken to show no tumour, and what is called one is counted.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clisc_nnunet.errors import UserError
from clisc_nnunet.evaluation.scores import slice_scores
from clisc_nnunet.evaluation.stages import CaseStages, score_case, tumour_share
from clisc_nnunet.slice_labels import TUMOUR, UNSURE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-d", type=Path, required=True, help="dataset folder")
    parser.add_argument("-r", type=Path, help="references, CASE.nii.gz")
    parser.add_argument("-o", type=Path, help="CSV of the Dice per case")
    arguments = parser.parse_args(argv)
    try:
        with (arguments.d / "clisc" / "cases.csv").open() as file:
            outcomes = {row["case"]: row for row in csv.DictReader(file)}
        cases = [
            score_case(arguments.d, name, _reference(arguments.r, name))
            for name, row in outcomes.items()
            if row["status"] != "failed"
        ]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    tables = [_seconds(arguments.d)]
    if arguments.r is None:
        tables.append(_false_tumours(cases, outcomes))
    else:
        tables += [_dice_table(cases, arguments.o), _slice_table(cases)]
    print("\n\n".join(tables))
    return 0


def _reference(folder: Path | None, case: str) -> Path | None:
    return None if folder is None else folder / f"{case}.nii.gz"


def _dice_table(cases: Sequence[CaseStages], path: Path | None) -> str:
    stages = sorted({stage for c in cases for stage in c.dice}, reverse=True)
    header = ["case", *stages, "precision", "sensitivity"]
    rows = [
        [c.case, *(c.dice.get(s, np.nan) for s in stages), c.precision, c.sensitivity]
        for c in cases
    ]
    rows.sort(key=lambda row: row[header.index("pseudo-label")])
    if path is not None:
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
    means = ["mean", *(float(np.nanmean([row[k] for row in rows])) for k in range(1, len(header)))]
    lines = [_line(header), _line(["---"] * len(header)), *(_line(row) for row in [*rows, means])]
    worst = ", ".join(str(row[0]) for row in rows[:3])
    return "\n".join(lines) + f"\n\nworst three by pseudo-label: {worst}"


def _slice_table(cases: Sequence[CaseStages]) -> str:
    truth = np.concatenate([c.truth for c in cases])
    clip = np.concatenate([c.clip_probability for c in cases])
    voted = np.concatenate([c.voted for c in cases])
    found = {"CLIP": slice_scores(clip, clip > 0.5, truth)}
    sure = voted != UNSURE
    found[f"vote, {1 - sure.mean():.0%} unsure left out"] = slice_scores(
        clip[sure], voted[sure] == TUMOUR, truth[sure]
    )
    for name in sorted(cases[0].classifier_probability, reverse=True):
        probability = np.concatenate([c.classifier_probability[name] for c in cases])
        found[f"{name} classifier"] = slice_scores(probability, probability > 0.5, truth)
    header = ["slice labels", "AUC", "accuracy", "balanced accuracy"]
    lines = [_line(header), _line(["---"] * 4)]
    lines += [_line([name, *scores.values()]) for name, scores in found.items()]
    return "\n".join(lines) + f"\n\n{len(truth)} slices, {truth.mean():.0%} with a tumour"


def _false_tumours(cases: Sequence[CaseStages], outcomes: dict[str, dict[str, str]]) -> str:
    shares = [tumour_share(c) for c in cases]
    keys = list(shares[0])
    header = ["case without a tumour", *keys, "slices with a region", "label ml", "IoU by SAM"]
    lines = [_line(header), _line(["---"] * len(header))]
    for c, share in zip(cases, shares, strict=True):
        row = outcomes[c.case]
        region = int(row["region_slices"]) / int(row["slices"])
        values = [*share.values(), region, float(row["label_ml"]), float(row["predicted_iou"])]
        lines.append(_line([c.case, *values]))
    return "\n".join(lines)


def _seconds(dataset: Path) -> str:
    record = json.loads((dataset / "clisc" / "run.json").read_text())
    total = record["seconds"]["total"]
    parts = ", ".join(
        f"{stage} {spent:.0f} ({spent / total:.0%})"
        for stage, spent in record["seconds"].items()
        if stage != "total"
    )
    return f"{total:.0f} s in all: {parts}; peak memory {record['peak_memory_gb']} GB"


def _line(values: Sequence) -> str:
    shown = [f"{v:.3f}" if isinstance(v, float) else str(v) for v in values]
    return "| " + " | ".join(shown) + " |"


if __name__ == "__main__":
    sys.exit(main())
