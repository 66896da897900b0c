"""What became of each case, for the report and the table at the end."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Literal, get_args

Status = Literal["labelled", "trusted", "empty", "failed"]
# A `trusted` label is a person's: corrected, or in trusted.txt.
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True)
class CaseOutcome:
    """One case: its pseudo-label, or why there is none."""

    case: str
    status: Status
    reason: str
    """Why the case has a label, or lacks one."""
    slices: int = 0
    """Slices that show brain."""
    clip_tumour_slices: int = 0
    """Of these, called tumour by CLIP and the vote."""
    classifier_tumour_slices: int = 0
    region_slices: int = 0
    """With a region of interest, thus shown to SAM."""
    label_ml: float = 0.0
    predicted_iou: float = 0.0
    """SAM's own estimate, mean over the slices it drew on."""
    agreement: float = 0.0
    """Dice of SAM's masks and the regions, mean over the same slices."""
    brain_share: float = 1.0
    """Share of the scan's foreground that the stages look at; below 1 a skull was stripped."""

    @property
    def confidence(self) -> float:
        """How far the pseudo-label may be trusted, 0 to 1; no reference is needed for it.

        Notes
        -----
        The geometric mean of two opinions of different origin: SAM's own estimate of its masks'
        IoU, and the Dice of these masks and the regions that the classifier's CAM gave. It is low
        where either is, and 0 where SAM drew nothing. CAM's layer and threshold are chosen by the
        same product.
        """
        return math.sqrt(min(max(self.predicted_iou, 0.0), 1.0) * self.agreement)


def failed_outcomes(failures: Mapping[str, str]) -> list[CaseOutcome]:
    """Outcomes of cases that were set aside, by name, each with its reason."""
    return [CaseOutcome(case, "failed", reason) for case, reason in sorted(failures.items())]


def with_failures(
    outcomes: Sequence[CaseOutcome], failures: Mapping[str, str]
) -> list[CaseOutcome]:
    """The outcomes, but `failed` for cases that failed after their label was written."""
    failed = {outcome.case: outcome for outcome in failed_outcomes(failures)}
    return [failed.get(outcome.case, outcome) for outcome in outcomes]


def least_sure_first(outcomes: Sequence[CaseOutcome]) -> list[CaseOutcome]:
    """Cases in the order in which people should look at them.

    By `confidence`, the lowest first; where it is the same, failed cases come before empty and
    labelled ones, then the name decides. Cases that somebody has checked already come last.
    """
    order = {"failed": 0, "empty": 1, "labelled": 2, "trusted": 3}
    return sorted(
        outcomes, key=lambda o: (o.status == "trusted", o.confidence, order[o.status], o.case)
    )


def to_csv(outcomes: Sequence[CaseOutcome]) -> str:
    """The per-case report, a line each; `rank` 1 is the case to look at first."""
    text = io.StringIO()
    names = [*(f.name for f in fields(CaseOutcome)), "confidence", "rank"]
    ranks = {o.case: rank for rank, o in enumerate(least_sure_first(outcomes), start=1)}
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for outcome in outcomes:
        row = {**asdict(outcome), "confidence": outcome.confidence, "rank": ranks[outcome.case]}
        writer.writerow({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
    return text.getvalue()


def summary(outcomes: Sequence[CaseOutcome], seconds: dict[str, float]) -> str:
    """Table for the screen: cases by status, volumes, seconds per stage."""
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
