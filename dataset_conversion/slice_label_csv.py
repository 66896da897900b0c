"""Slice labels as CSV: written for each run, and read to replace those of CLIP."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from pathlib import Path

from clisc_nnunet.errors import UserError, named
from clisc_nnunet.pipeline.run_results import RunResults
from clisc_nnunet.stages.slice_classes import NORMAL, TUMOUR, UNSURE

NAMES = {NORMAL: "normal", TUMOUR: "tumour", UNSURE: "unsure"}
COLUMNS = ("case", "plane", "tumour_probability", "clip_label", "label")


def slice_label_table(results: RunResults) -> str:
    """CSV of all slices of a run: CLIP's probability and label, and the label after the vote.

    `plane` is the index of the slice of stage 1, from inferior to superior.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for case in results.cases:
        arrays = results.arrays(case, "labels")
        for plane, probability, label, voted in zip(
            arrays["planes"].tolist(),
            arrays["probability"].tolist(),
            arrays["label"].tolist(),
            arrays["voted"].tolist(),
            strict=True,
        ):
            writer.writerow([case, plane, f"{probability:.4f}", NAMES[label], NAMES[voted]])
    return text.getvalue()


def labels_for(table: Path, cases: Collection[str]) -> dict[str, dict[int, int]]:
    """Read slice labels and print which cases of the table or of the input are unmatched.

    Raises
    ------
    UserError
        If no case matches, or the table cannot be read.
    """
    labels = read_slice_labels(table)
    strange, absent = sorted(labels.keys() - set(cases)), sorted(set(cases) - labels.keys())
    if len(strange) == len(labels):
        raise UserError(
            table, f"labels of {strange[0]}", "labels of the scans", "check the column case"
        )
    if strange:
        print(f"{table}: ignored, since there is no such scan: {named(strange)}")
    if absent:
        print(f"{table}: no labels of {named(absent)}; CLIP is used for these")
    return labels


def read_slice_labels(path: Path) -> dict[str, dict[int, int]]:
    """Labels by case and plane from a table with columns `case`, `plane` and `label`.

    Raises
    ------
    UserError
        If the file cannot be read, or a line is invalid.
    """
    expected = f"a CSV with {', '.join(COLUMNS)}; only case, plane and label are needed"
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(path, str(error), expected, "check the path") from None
    values = {name: number for number, name in NAMES.items()}
    labels: dict[str, dict[int, int]] = {}
    for number, row in enumerate(rows, start=2):
        try:
            labels.setdefault(row["case"], {})[int(row["plane"])] = values[row["label"]]
        except (KeyError, TypeError, ValueError):
            raise UserError(
                f"{path}, line {number}", str(dict(row))[:120], expected, "fix the line"
            ) from None
    if not labels:
        raise UserError(path, "no slice labels", expected, "fix the file")
    return labels
