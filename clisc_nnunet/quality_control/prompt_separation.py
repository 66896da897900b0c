"""How well text prompts separate slices, told without labels (a look at stages 2 and 3).

CLIP gives every slice a probability of `tumour`. Prompts that work leave few slices unsure, find
slices of both kinds, and call neighbouring slices alike, for a tumour spans many of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clisc_nnunet.errors import named
from clisc_nnunet.settings import LabelSettings
from clisc_nnunet.stages.clip_labels import sure_labels
from clisc_nnunet.stages.slice_classes import NORMAL, TUMOUR, UNSURE

# From which share on a fault is worth a line. The bundled CLIP with the paper's prompts stays well
# below the first and the third on phantoms and on real scans; random labels change at every second
# slice.
MANY_UNSURE, FEW_OF_A_KIND, MANY_CHANGES = 0.5, 0.02, 0.2


@dataclass(frozen=True)
class ScoredSlices:
    """Slices of one case and what CLIP thinks of them.

    Parameters
    ----------
    height_mm : float ndarray of shape (n,)
        Above the lowest slice of the case, ascending.
    probability : float ndarray of shape (n,)
        Of `tumour`, 0 to 1.
    """

    height_mm: np.ndarray
    probability: np.ndarray


@dataclass(frozen=True)
class PromptCheck:
    """What one prompt set did to the slices of all cases.

    Parameters
    ----------
    name : str
        Of the prompt set.
    cases : mapping of case to ScoredSlices
    limit : float
        Probability of either kind below which a slice is unsure.
    slices : int
    tumour, normal, unsure : float
        Shares of the slices.
    changes : float
        Share of neighbours, both sure, with different labels; NaN where there are none.
    without_tumour, without_normal : tuple of str
        Cases without one sure slice of that kind.
    """

    name: str
    cases: Mapping[str, ScoredSlices]
    limit: float
    slices: int
    tumour: float
    normal: float
    unsure: float
    changes: float
    without_tumour: tuple[str, ...]
    without_normal: tuple[str, ...]


def check_prompts(
    name: str, cases: Mapping[str, ScoredSlices], settings: LabelSettings
) -> PromptCheck:
    """Judge a prompt set by the probabilities that it gave.

    Parameters
    ----------
    name : str
    cases : mapping of case to ScoredSlices
        At least one, each with at least one slice.
    settings : LabelSettings
        `min_probability` alone counts: the vote of the neighbours would hide what is looked for.

    Raises
    ------
    ValueError
        If there is no slice.
    """
    labels = {case: sure_labels(c.probability, settings) for case, c in cases.items()}
    if not sum(map(len, labels.values())):
        raise ValueError("no slice to check prompts on")
    every = np.concatenate(list(labels.values()))
    steps = [_changes(label) for label in labels.values()]
    pairs = np.concatenate(steps)
    return PromptCheck(
        name,
        dict(cases),
        settings.min_probability,
        len(every),
        tumour=float((every == TUMOUR).mean()),
        normal=float((every == NORMAL).mean()),
        unsure=float((every == UNSURE).mean()),
        changes=float(pairs.mean()) if len(pairs) else float("nan"),
        without_tumour=tuple(case for case, label in labels.items() if TUMOUR not in label),
        without_normal=tuple(case for case, label in labels.items() if NORMAL not in label),
    )


def advice(check: PromptCheck) -> str:
    """One line: what is wrong with the prompts, and what to try; the gravest fault only."""
    if check.unsure > MANY_UNSURE:
        return (
            f"prompts hardly separate slices: {check.unsure:.0%} are unsure; say what the tumour "
            "looks like (bright, irregular), or take another CLIP with --clip"
        )
    if min(check.tumour, check.normal) < FEW_OF_A_KIND:
        kind, other = ("tumour", "normal") if check.normal < check.tumour else ("normal", "tumour")
        return (
            f"prompts see {kind} everywhere: {check.tumour:.0%} tumour, {check.normal:.0%} normal; "
            f"make the {other} prompts more telling, and check that the scans are FLAIR"
        )
    if check.changes > MANY_CHANGES:
        return (
            f"labels flicker: {check.changes:.0%} of neighbouring slices differ, a tumour spans "
            "many; try other prompts, or several paraphrases of each"
        )
    if check.without_tumour:
        return (
            f"prompts separate slices, but not in {named(check.without_tumour)}: no slice there "
            "is surely a tumour; look at the pictures"
        )
    return "prompts separate slices; compare the strips by eye before you rely on them"


def table(checks: Sequence[PromptCheck]) -> str:
    """Table for the screen, one line a prompt set, then the advice for each."""
    width = max(7, *(len(check.name) for check in checks))
    lines = [
        f"{'prompts':<{width}}  {'slices':>6}  {'tumour':>6}  {'normal':>6}  {'unsure':>6}  "
        f"{'changes':>7}  volumes with a tumour"
    ]
    for check in checks:
        count = len(check.cases)
        changes = "-" if np.isnan(check.changes) else f"{check.changes:.0%}"
        lines.append(
            f"{check.name:<{width}}  {check.slices:>6}  {check.tumour:>6.0%}  {check.normal:>6.0%}"
            f"  {check.unsure:>6.0%}  {changes:>7}"
            f"  {count - len(check.without_tumour)} of {count}"
        )
    return "\n".join([*lines, "", *(f"{check.name}: {advice(check)}" for check in checks)])


def extreme_slices(check: PromptCheck, count: int, *, most: bool) -> list[tuple[str, int]]:
    """Slices with the highest or the lowest probability, of all cases together.

    Parameters
    ----------
    check : PromptCheck
    count : int
    most : bool
        The most tumour-like, highest first; else the least, lowest first.

    Returns
    -------
    list of (case, index into the case's slices)
        Neighbours look alike, so that of one case at most its fair share is taken, each a tenth
        of its slices away from the others.
    """
    share = -(-count // len(check.cases))
    picked = []
    for case, slices in check.cases.items():
        signed = -slices.probability if most else slices.probability
        apart, kept = max(len(signed) // 10, 1), list[int]()
        for index in np.argsort(signed, kind="stable").tolist():
            if len(kept) < share and all(abs(index - other) >= apart for other in kept):
                kept.append(index)
        picked += [(float(signed[index]), case, index) for index in kept]
    return [(case, index) for _, case, index in sorted(picked)[:count]]


def _changes(label: np.ndarray) -> np.ndarray:
    """Whether neighbours differ, bool (pairs of sure neighbours,)."""
    sure = (label[1:] != UNSURE) & (label[:-1] != UNSURE)
    return (label[1:] != label[:-1])[sure]
