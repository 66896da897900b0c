"""Tables of stage scores of a conversion: Dice by case, and slice labels."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clisc_nnunet.dataset_layout import DatasetLayout
from clisc_nnunet.errors import UserError, named
from clisc_nnunet.evaluation.find_masks import find_masks
from clisc_nnunet.evaluation.mask_pairs import renamed
from clisc_nnunet.evaluation.slice_scores import slice_scores
from clisc_nnunet.evaluation.stage_scores import (
    CLASSIFIERS,
    CLEAR_MM2,
    CaseStageScores,
    score_case,
    tumour_shares,
)
from clisc_nnunet.evaluation.tables import markdown
from clisc_nnunet.io.sitk_images import read_image
from clisc_nnunet.pipeline.case_result import PHANTOM
from clisc_nnunet.pipeline.label_placement import RECORD, written_by_us
from clisc_nnunet.pipeline.result_cache import ResultCache
from clisc_nnunet.stages.slice_classes import TUMOUR, UNSURE

Row = dict[str, Any]
# Status of cases that have no pseudo-label to score; `trusted` labels were corrected by hand.
NOT_SCORED = ("failed", "trusted")


@dataclass(frozen=True)
class StageReport:
    """Scores of the stages of a conversion.

    Parameters
    ----------
    rows : list of dict
        One row per case, sorted by the Dice of the pseudo-label.
    others : dict
        `mean`: mean of the rows; `slices`: one row per kind of slice label; `failed` and
        `trusted`: names of the cases with this status.
    text : str
        Markdown, as printed.
    """

    rows: list[Row]
    others: dict[str, Any]
    text: str


def report_stages(dataset: Path, references: Path | None, mask_name: str = "") -> StageReport:
    """Score the stored stages of a conversion.

    Parameters
    ----------
    dataset : Path
        Folder written by `clisc_make_pseudo_dataset`.
    references : Path, optional
        Folder of masks. None: no scan shows a tumour; slices classified as tumour are counted.
    mask_name : str
        Name of the masks, see `find_masks`.

    Raises
    ------
    UserError
        If there is no finished conversion, or a case has no matching reference.
    """
    outcomes = read_outcomes(dataset)
    others = {status: _with_status(outcomes, status) for status in NOT_SCORED}
    usable = [name for name in outcomes if not any(name in some for some in others.values())]
    masks = renamed(find_masks(references, mask_name), usable) if references else {}
    missing = [name for name in usable if references and name not in masks]
    if missing:
        raise UserError(
            str(references),
            f"no reference for {len(missing)} cases ({named(missing)})",
            f"one for each case of {dataset}",
            "check that the names match",
        )
    cases = [score_case(dataset, name, masks.get(name)) for name in usable]
    rows = case_rows(cases) if references else share_rows(cases, outcomes)
    slices = slice_rows(cases) if references else []
    mean = {"case": "mean", **means(rows)}
    blocks = [timing_summary(dataset), markdown([*rows, mean])]
    if references:
        truths = np.concatenate([c.slices.truth for c in cases])
        scored = [row["case"] for row in rows if not math.isnan(row["pseudo-label"])]
        blocks += [
            f"Worst three by pseudo-label: {', '.join(scored[:3])}. Dice undefined (neither "
            f"tumour nor label), excluded from the mean: {len(rows) - len(scored)}.",
            markdown(slices),
            f"{len(truths)} unambiguous slices (no tumour, or at least {CLEAR_MM2:g} mm2), "
            f"{truths.mean():.0%} of them with a tumour.",
        ]
    blocks += [
        f"{status.capitalize()}, not scored: {', '.join(some)}."
        for status, some in others.items()
        if some
    ]
    text = "\n\n".join(block for block in blocks if block)
    return StageReport(rows, {"mean": mean, "slices": slices, **others}, text)


def _with_status(outcomes: Mapping[str, Mapping[str, str]], status: str) -> list[str]:
    return [name for name, row in outcomes.items() if row["status"] == status]


def read_outcomes(dataset: Path) -> dict[str, dict[str, str]]:
    """Rows of the conversion's `cases.csv` by case, without phantoms.

    Raises
    ------
    UserError
        If the file is missing, or no case can be scored.
    """
    path = DatasetLayout(dataset).cases_csv
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            absent = {"case", "status"} - set(reader.fieldnames or ())
            rows = [] if absent else [row for row in reader if row["status"] != PHANTOM]
            outcomes = {row["case"]: row for row in rows}
    except OSError as error:
        raise UserError(path, str(error.strerror), "a finished conversion", "check -d") from None
    if absent:
        found = f"no column {' and '.join(sorted(absent))}"
        raise UserError(path, found, "the table of a conversion", "rerun with --continue")
    _mark_corrected_labels(outcomes, dataset)
    there = {row["status"] for row in outcomes.values()}
    if there <= set(NOT_SCORED):
        found = f"{' and '.join(sorted(there)) or 'no'} cases only"
        raise UserError(path, found, "cases to score", "see the reasons in this file")
    return outcomes


def _mark_corrected_labels(outcomes: Mapping[str, dict[str, str]], dataset: Path) -> None:
    """Set the status of labels that were corrected since the table was written.

    Raises
    ------
    ScanError
        If one of them cannot be read: it would go unnoticed among the corrected ones.
    """
    layout = DatasetLayout(dataset)
    cache = ResultCache(layout.stages)
    for case, row in outcomes.items():
        label = layout.label(case)
        known = label.is_file() and cache.read_record(case, RECORD)
        if known and not written_by_us(cache, case, label):
            read_image(label)
            row["status"] = "trusted"


def case_rows(cases: Sequence[CaseStageScores]) -> list[Row]:
    """Dice of every stage, one row per case; sorted by pseudo-label Dice, undefined ones last."""
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


def slice_rows(cases: Sequence[CaseStageScores]) -> list[Row]:
    """Slice classification scores of every stage, over the unambiguous slices of all cases."""
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


def share_rows(cases: Sequence[CaseStageScores], outcomes: dict[str, dict[str, str]]) -> list[Row]:
    """Share of slices that every stage classifies as tumour, one row per case."""
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
    """Mean of every numeric column over its defined values, NaN if there is none."""
    found = {}
    for key in [key for key in rows[0] if key != "case"]:
        values = [row[key] for row in rows if not math.isnan(row[key])]
        found[key] = sum(values) / len(values) if values else math.nan
    return found


def timing_summary(dataset: Path) -> str:
    """Seconds per stage and peak memory; empty if the conversion produced no dataset."""
    path = DatasetLayout(dataset).run_json
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
