"""S3F case selection: which cases to train on, given the agreement of SAM and network."""

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
    """Agreement of SAM and network on a case.

    Parameters
    ----------
    similarity : float
        0 to 1.
    empty : bool
        Whether the network's prediction is empty.
    was_empty : bool
        Whether the label that the network was trained on is empty.
    """

    similarity: float
    empty: bool = False
    was_empty: bool = False


@dataclass(frozen=True)
class Decision:
    """Whether a case stays in the training set, and why."""

    kept: bool
    reason: Reason

    @property
    def relabel(self) -> bool:
        """Whether the label may be replaced; labels checked by a person never are."""
        return self.kept and self.reason != "trusted"


def select_cases(
    agreements: Mapping[str, CaseAgreement],
    keep_ratio: float,
    min_similarity: float = 0.0,
    trusted: Collection[str] = (),
    previously_rejected: Collection[str] = (),
) -> dict[str, Decision]:
    """Keep the cases with the best agreement of SAM and network (paper: 80 %).

    Parameters
    ----------
    agreements : mapping of case to CaseAgreement
    keep_ratio : float
        Share of the cases with a prediction to keep; rounded down as in the paper, but at least
        one case.
    min_similarity : float
        Cases below it are rejected regardless of `keep_ratio`, even if no case is left.
    trusted : collection of str
        Cases checked by a person: always kept, and not counted in `keep_ratio`.
    previously_rejected : collection of str
        Cases rejected in an earlier round that must stay rejected.

    Returns
    -------
    dict of case to Decision
        In the order of `agreements`. A case with empty label and empty prediction is kept as a
        healthy example; a case whose prediction became empty is rejected, as in the paper.
    """
    decisions: dict[str, Decision] = {}
    for case, known in agreements.items():
        if case in trusted:
            decisions[case] = Decision(True, "trusted")
        elif case in previously_rejected:
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
    """One line for the log, such as "kept 205 of 257 cases: similarity 0.710 or more"."""
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
