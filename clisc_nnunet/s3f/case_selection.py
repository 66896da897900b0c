"""S3F's decision: which cases are worth learning from, given how well SAM and network agree."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Reason = Literal[
    "similar",
    "dissimilar",
    "below the least similarity",
    "trusted",
    "no tumour, as before",
    "empty prediction",
    "left out before",
]


@dataclass(frozen=True)
class CaseAgreement:
    """What is known of a case when the decision falls.

    Parameters
    ----------
    similarity : float
        0 to 1.
    empty : bool
        The network's prediction is empty.
    was_empty : bool
        So is the label it has learnt from.
    """

    similarity: float
    empty: bool = False
    was_empty: bool = False


@dataclass(frozen=True)
class Decision:
    """Whether a case stays in the training set, and why."""

    kept: bool
    reason: Reason


def select_cases(
    agreements: Mapping[str, CaseAgreement],
    keep_ratio: float,
    min_similarity: float = 0.0,
    trusted: Collection[str] = (),
    barred: Collection[str] = (),
) -> dict[str, Decision]:
    """Keep the cases on which SAM and the network agree best (paper: 80 %).

    Parameters
    ----------
    judged : mapping of case to Judged
    keep_ratio : float
        Share of the cases with a prediction that is kept, rounded down as in the paper, but never
        to none.
    min_similarity : float
        Cases below it are rejected whatever the share; all of them, if it must be.
    trusted : collection of str
        Cases that a person has checked: always kept, and not counted.
    barred : collection of str
        Cases rejected before that may not come back.

    Returns
    -------
    dict of case to Verdict
        In the order of `judged`. A case where the network, as its label before, finds no tumour
        is kept as what it is, an example of a healthy brain; a case whose tumour is gone drops
        out, as in the paper.
    """
    decisions: dict[str, Decision] = {}
    for case, known in agreements.items():
        if case in trusted:
            decisions[case] = Decision(True, "trusted")
        elif case in barred:
            decisions[case] = Decision(False, "left out before")
        elif known.empty and known.was_empty:
            decisions[case] = Decision(True, "no tumour, as before")
        elif known.empty:
            decisions[case] = Decision(False, "empty prediction")
    ranked = sorted(
        (case for case in agreements if case not in decisions),
        key=lambda case: (-agreements[case].similarity, case),
    )
    kept = max(int(keep_ratio * len(ranked) + 1e-9), 1)
    for position, case in enumerate(ranked):
        if agreements[case].similarity < min_similarity:
            decisions[case] = Decision(False, "below the least similarity")
        elif position < kept:
            decisions[case] = Decision(True, "similar")
        else:
            decisions[case] = Decision(False, "dissimilar")
    return {case: decisions[case] for case in agreements}


def decision_line(
    agreements: Mapping[str, CaseAgreement], decisions: Mapping[str, Decision]
) -> str:
    """The decision in one line for the log."""
    kept = [case for case, decision in decisions.items() if decision.kept]
    similar = [agreements[case].similarity for case in kept if decisions[case].reason == "similar"]
    line = f"kept {len(kept)} of {len(decisions)} cases"
    if similar:
        line += f": similarity {min(similar):.3f} or more"
    rejected = _counted([v.reason for v in decisions.values() if not v.kept])
    special = _counted([v.reason for v in decisions.values() if v.kept and v.reason != "similar"])
    return "; ".join(
        [line, *([f"among them {special}"] if special else []), f"rejected {rejected or 'none'}"]
    )


def _counted(reasons: Sequence[str]) -> str:
    return ", ".join(f"{reasons.count(r)} {r}" for r in dict.fromkeys(reasons))
