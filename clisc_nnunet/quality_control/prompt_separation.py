"""Measure how well text prompts separate slices, without labels (stages 2 and 3).

CLIP assigns every slice a probability of `tumour`. Good prompts leave few slices unsure, find
slices of both classes, and give neighbouring slices the same label, since a tumour spans many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clisc_nnunet.errors import named
from clisc_nnunet.settings import LabelSettings
from clisc_nnunet.stages.clip_labels import sure_labels
from clisc_nnunet.stages.slice_classes import NORMAL, TUMOUR, UNSURE

# Thresholds for warnings. The bundled CLIP with the paper's prompts stays well below MAX_UNSURE and
# MAX_CHANGES on phantoms and real scans; random labels change at every second slice.
MAX_UNSURE, MIN_CLASS_SHARE, MAX_CHANGES = 0.5, 0.02, 0.2


@dataclass(frozen=True)
class ScoredSlices:
    """Slices of one case and their probabilities by CLIP.

    Parameters
    ----------
    height_mm : float ndarray of shape (n,)
        Height above the lowest slice, ascending.
    probability : float ndarray of shape (n,)
        Probability of `tumour`, 0 to 1.
    """

    height_mm: np.ndarray
    probability: np.ndarray


@dataclass(frozen=True)
class PromptCheck:
    """Separation of the slices of all cases by one prompt set.

    Parameters
    ----------
    name : str
        Name of the prompt set.
    cases : mapping of case to ScoredSlices
    limit : float
        Smallest probability of a class for a slice to be labelled.
    slices : int
        Number of slices.
    tumour, normal, unsure : float
        Shares of the slices with this label.
    changes : float
        Share of adjacent labelled slices with different labels; NaN if there are no such pairs.
    without_tumour, without_normal : tuple of str
        Cases without a slice of this class.
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
    """Check a prompt set by the probabilities that it gives.

    Parameters
    ----------
    name : str
        Name of the prompt set.
    cases : mapping of case to ScoredSlices
        At least one, each with at least one slice.
    settings : LabelSettings
        Only `min_probability` is used; the vote of neighbouring slices would hide label changes.

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
    """One line with the most severe problem of the prompts, and what to try."""
    if check.unsure > MAX_UNSURE:
        return (
            f"prompts hardly separate slices: {check.unsure:.0%} are unsure; describe what the "
            "tumour looks like (bright, irregular), or choose another CLIP with --clip"
        )
    if min(check.tumour, check.normal) < MIN_CLASS_SHARE:
        kind, other = ("tumour", "normal") if check.normal < check.tumour else ("normal", "tumour")
        return (
            f"prompts see {kind} everywhere: {check.tumour:.0%} tumour, {check.normal:.0%} normal; "
            f"make the {other} prompts more specific, and check that the scans are FLAIR"
        )
    if check.changes > MAX_CHANGES:
        return (
            f"labels alternate: {check.changes:.0%} of neighbouring slices differ, although a "
            "tumour spans many; try other prompts, or several paraphrases of each"
        )
    if check.without_tumour:
        return (
            f"prompts separate slices, but not in {named(check.without_tumour)}: no slice is "
            "labelled tumour; check the pictures"
        )
    return "prompts separate slices; check the strips visually before you rely on them"


def table(checks: Sequence[PromptCheck]) -> str:
    """Table with one line per prompt set, followed by the advice for each."""
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
    """Slices with the highest or lowest probability over all cases.

    Parameters
    ----------
    check : PromptCheck
    count : int
    most : bool
        True: highest probabilities first; False: lowest first.

    Returns
    -------
    list of (case, index into the case's slices)
        As neighbouring slices are similar, each case contributes at most its share of `count`,
        and its slices are at least a tenth of its height apart.
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
    """Whether adjacent labelled slices differ, bool (pairs,)."""
    sure = (label[1:] != UNSURE) & (label[:-1] != UNSURE)
    return (label[1:] != label[:-1])[sure]
