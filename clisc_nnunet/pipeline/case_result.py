"""Outcome of each case, for the report and the final table."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Literal, get_args

ScanStatus = Literal["labelled", "trusted", "empty", "failed"]
# `trusted`: the label was corrected by a person, or the case is listed in trusted.txt.
STATUSES: tuple[ScanStatus, ...] = get_args(ScanStatus)
# A phantom is listed in the tables, but is no scan and counts nowhere.
PHANTOM: Literal["phantom"] = "phantom"
Status = ScanStatus | Literal["phantom"]
# Columns of the table of cases that a phantom has a value for.
_OF_PHANTOMS = ("case", "status", "reason", "label_ml")


@dataclass(frozen=True)
class CaseOutcome:
    """Outcome of one case: its pseudo-label, or the reason why there is none."""

    case: str
    status: Status
    reason: str
    """Why the case has a label or none."""
    slices: int = 0
    """Number of slices with brain."""
    clip_tumour_slices: int = 0
    """Slices labelled tumour by CLIP and the vote."""
    classifier_tumour_slices: int = 0
    region_slices: int = 0
    """Axial slices with a region of interest, on which SAM is prompted, and those that SAM's later
    passes add: in them it drew without a region."""
    label_ml: float = 0.0
    predicted_iou: float = 0.0
    """SAM's predicted IoU, mean over the slices with a mask."""
    agreement: float = 0.0
    """Dice between SAM's masks and the regions, mean over the same slices."""
    brain_share: float = 1.0
    """Brain as a share of the scan's foreground; below 1 if the scan was skull-stripped here."""

    @property
    def confidence(self) -> float:
        """Estimated reliability of the pseudo-label, 0 to 1, computed without a reference.

        Notes
        -----
        Geometric mean of two largely independent estimates: SAM's predicted IoU of its masks, and
        the Dice between these masks and the regions from the classifier's CAM. It is low if either
        is low, and 0 without a mask. Layer and threshold of the CAM are selected by the same
        product.
        """
        return math.sqrt(min(max(self.predicted_iou, 0.0), 1.0) * self.agreement)


def failed_outcomes(failures: Mapping[str, str]) -> list[CaseOutcome]:
    """Outcomes of skipped cases, sorted by name, each with its reason."""
    return [CaseOutcome(case, "failed", reason) for case, reason in sorted(failures.items())]


def with_failures(
    outcomes: Sequence[CaseOutcome], failures: Mapping[str, str]
) -> list[CaseOutcome]:
    """Outcomes with the cases replaced that failed after their label was written."""
    failed = {outcome.case: outcome for outcome in failed_outcomes(failures)}
    return [failed.get(outcome.case, outcome) for outcome in outcomes]


def least_sure_first(outcomes: Sequence[CaseOutcome]) -> list[CaseOutcome]:
    """Cases in the order in which they should be reviewed.

    Sorted by `confidence`, the lowest first; ties are broken by status (failed, empty, labelled)
    and name. Cases that a person has already checked come last.
    """
    order = {"failed": 0, "empty": 1, "labelled": 2, "trusted": 3}
    return sorted(
        outcomes, key=lambda o: (o.status == "trusted", o.confidence, order[o.status], o.case)
    )


def to_csv(outcomes: Sequence[CaseOutcome], phantoms: Sequence[CaseOutcome] = ()) -> str:
    """CSV with one line per case; `rank` 1 is the case to review first.

    Phantoms come last, without rank and without the values of a pseudo-label.
    """
    text = io.StringIO()
    names = [*(f.name for f in fields(CaseOutcome)), "confidence", "rank"]
    ranks = {o.case: rank for rank, o in enumerate(least_sure_first(outcomes), start=1)}
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for outcome in outcomes:
        row = {**asdict(outcome), "confidence": outcome.confidence, "rank": ranks[outcome.case]}
        writer.writerow({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
    writer.writerows({k: getattr(phantom, k) for k in _OF_PHANTOMS} for phantom in phantoms)
    return text.getvalue()


def summary(outcomes: Sequence[CaseOutcome], seconds: dict[str, float]) -> str:
    """Table for the terminal: cases, counts by status, volumes, seconds per stage."""
    lines = [f"{'case':<32} {'status':<9} {'slices':>6} {'region':>6} {'ml':>7} {'IoU':>5}  reason"]
    lines += [
        f"{o.case:<32} {o.status:<9} {o.slices:>6} {o.region_slices:>6} {o.label_ml:>7.1f} "
        f"{o.predicted_iou:>5.2f}  {o.reason}"
        for o in outcomes
    ]
    volumes = sorted(o.label_ml for o in outcomes if o.status == "labelled")
    counts = {s: sum(o.status == s for o in outcomes) for s in STATUSES}
    counts = {s: n for s, n in counts.items() if n or s != "trusted"}
    lines.append("")
    lines.append(f"{len(outcomes)} cases: " + ", ".join(f"{n} {s}" for s, n in counts.items()))
    if volumes:
        median = volumes[len(volumes) // 2]
        lines.append(f"volumes: {volumes[0]:.1f} to {volumes[-1]:.1f} ml, median {median:.1f} ml")
    lines.append(
        "seconds: " + ", ".join(f"{stage} {spent:.0f}" for stage, spent in seconds.items())
    )
    return "\n".join(lines)
