"""HTML page and tables of `clisc_estimate_quality`, least trusted case first."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from clisc_nnunet.quality_control.prediction_scores import MEASURES, CaseQuality, View
from clisc_nnunet.report.html import figure_text, render, slice_uri
from clisc_nnunet.report.svg import OUTLINE_UNITS, outline

# Number of cases printed to the screen; the files contain all of them.
ON_SCREEN = 25


def view_content(view: View) -> dict[str, Any]:
    """A view as strings for the template; a few kilobytes, unlike the arrays."""
    rows, columns = view.pixels.shape
    return {
        "title": view.title,
        "picture": slice_uri(view.pixels),
        "rows": rows,
        "columns": columns,
        "outlines": {
            "prediction": outline(view.prediction),
            "answer": outline(view.answer),
        },
    }


def as_page(
    cases: Sequence[CaseQuality],
    views: Mapping[str, Sequence[Mapping[str, Any]]],
    facts: Mapping[str, Any],
) -> str:
    """Self-contained HTML page.

    Parameters
    ----------
    cases : sequence of CaseQuality
        Ordered by rank.
    views : mapping of case to sequence of `view_content`
    facts : mapping
        Entries of quality.json; `command` and `sam` are shown.
    """
    return render(
        "quality.html", cases=cases, views=views, facts=facts, outline_units=OUTLINE_UNITS
    )


def as_csv(cases: Sequence[CaseQuality]) -> str:
    """CSV with one line per case, ordered by rank."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(CaseQuality)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(case).items()}
        for case in cases
    )
    return text.getvalue()


def as_json(cases: Sequence[CaseQuality], facts: Mapping[str, Any]) -> str:
    """JSON of `facts` and all cases; missing values are null."""
    content = {**facts, "cases": [asdict(case) for case in cases]}
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def as_table(cases: Sequence[CaseQuality]) -> str:
    """Text table: the least trusted cases, then those that failed."""
    ranked = [case for case in cases if case.rank is not None]
    width = max([4, *(len(case.case) for case in cases)])
    lines = [f"{'rank':>4}  {'case':<{width}}  score  simil.  IoU   stable  {'ml':>6}  parts"]
    for case in ranked[:ON_SCREEN]:
        score, similarity, iou, stable = (
            figure_text(getattr(case, name)) for name in ("score", *MEASURES)
        )
        lines.append(
            f"{case.rank:>4}  {case.case:<{width}}  {score:<5}  {similarity:<6}  {iou:<4}  "
            f"{stable:<6}  {case.volume_ml:>6.1f}  {case.components:>5}  {case.reason}".rstrip()
        )
    if len(ranked) > ON_SCREEN:
        lines.append(f"      ... and {len(ranked) - ON_SCREEN} more with a higher score")
    failed = [case for case in cases if case.status == "failed"]
    lines += [f"not scored: {case.case}: {case.reason}" for case in failed]
    empty = sum(case.status == "empty" for case in cases)
    lines += [
        "",
        f"{len(cases)} predictions: {len(ranked) - empty} scored, {empty} empty, "
        f"{len(failed)} failed; rank 1 is the least trusted",
    ]
    return "\n".join(lines)
