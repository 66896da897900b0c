"""Stages 2 and 3: zero-shot slice labels by CLIP, and a majority vote of neighbouring slices."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch

from clisc_nnunet.errors import NoTumourError, UserError
from clisc_nnunet.models.clip import ClipModel
from clisc_nnunet.models.device import at_precision
from clisc_nnunet.settings import LabelSettings, Precision
from clisc_nnunet.stages.slice_classes import NORMAL, TUMOUR, UNSURE

# The paper's two text prompts (section 2.1).
PAPER_TEXT_PROMPTS: dict[str, tuple[str, ...]] = {
    "normal": (
        "an image of brain tissue showing typical signal intensity without any regions of "
        "abnormal intensity or suspicious mass",
    ),
    "tumour": (
        "an image of brain tissue showing a tumor with uneven hyperintensity and irregular "
        "borders distinct from surroundings",
    ),
}


def read_text_prompts(name: str) -> dict[str, tuple[str, ...]]:
    """Text prompts by name (`paper`) or from a JSON file {"normal": [...], "tumour": [...]}.

    Raises
    ------
    UserError
        If the file is missing or not of this form.
    """
    if name == "paper":
        return PAPER_TEXT_PROMPTS
    expected = 'JSON of the form {"normal": ["..."], "tumour": ["..."]}'
    try:
        values = json.loads(Path(name).read_text(encoding="utf-8"))
        prompts = {key: values[key] for key in ("normal", "tumour")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            name, f"no text prompts ({type(error).__name__}: {error})", expected, "fix the file"
        ) from None
    for key, texts in prompts.items():
        listed = isinstance(texts, list) and len(texts) > 0
        if not listed or not all(isinstance(text, str) and text for text in texts):
            raise UserError(name, f"{key}: {texts!r}", expected, "give at least one text each")
    return {key: tuple(texts) for key, texts in prompts.items()}


def class_embeddings(clip: ClipModel, prompts: dict[str, tuple[str, ...]]) -> torch.Tensor:
    """Unit embeddings of the classes normal and tumour, (2, embedding); texts are averaged."""
    means = [clip.embed_texts(prompts[key]).mean(dim=0) for key in ("normal", "tumour")]
    return torch.nn.functional.normalize(torch.stack(means), dim=-1)


def tumour_probability(
    clip: ClipModel,
    classes: torch.Tensor,
    pixels: np.ndarray,
    batch: int = 32,
    precision: Precision = "auto",
) -> np.ndarray:
    """Probability of `tumour` per slice, by softmax over the two classes (stage 2).

    Parameters
    ----------
    clip : ClipModel
    classes : Tensor of shape (2, embedding)
        From `class_embeddings`.
    pixels : uint8 ndarray of shape (n, row, column)
    batch : int
        Slices per forward pass.
    precision : str
        Precision of the image tower; see `SamSettings.precision`.

    Returns
    -------
    float32 ndarray of shape (n,)
    """
    starts = range(0, len(pixels), batch)
    with at_precision(precision, clip.device):
        images = [clip.embed_images(pixels[start : start + batch]) for start in starts]
    parts = [(clip.scale * part @ classes.T).softmax(dim=-1)[:, 1].cpu().numpy() for part in images]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def sure_labels(probability: np.ndarray, settings: LabelSettings) -> np.ndarray:
    """Labels from probabilities: TUMOUR, NORMAL, or UNSURE below `min_probability` (stage 2)."""
    label = np.where(probability > 0.5, TUMOUR, NORMAL)
    sure = np.maximum(probability, 1 - probability) >= settings.min_probability
    return np.where(sure, label, UNSURE)


def vote(labels: np.ndarray, planes: np.ndarray, settings: LabelSettings) -> np.ndarray:
    """Replace labels by the majority of neighbouring slices (stage 3).

    Parameters
    ----------
    labels : int ndarray of shape (n,)
        Labels of one case in order of position; UNSURE ones neither vote nor change.
    planes : int ndarray of shape (n,)
        Plane index of each slice.
    settings : LabelSettings

    Returns
    -------
    int ndarray of shape (n,)
        All labels are replaced at once: votes are those of the given labels.
    """
    sure = np.flatnonzero(labels != UNSURE)
    voted = labels.copy()
    for rank, index in enumerate(sure):
        window = sure[max(rank - settings.vote_reach, 0) : rank + settings.vote_reach + 1]
        near = window[np.abs(planes[window] - planes[index]) <= settings.vote_distance]
        share = labels[near].mean()
        if len(near) >= settings.vote_quorum and share != 0.5:
            voted[index] = TUMOUR if share > 0.5 else NORMAL
    return voted


def require_both_classes(found: Collection[int], cases: int) -> None:
    """Check that there are both normal and tumour slices to train on.

    Parameters
    ----------
    found : collection of int
        Sure labels, `NORMAL` or `TUMOUR`, of all slices.
    cases : int
        Number of cases, for the message.

    Raises
    ------
    NoTumourError
        If one class is missing.
    """
    if {NORMAL, TUMOUR} <= set(found):
        return
    kind = "tumour" if TUMOUR in found else "normal"
    raise NoTumourError(
        f"{cases} usable cases",
        f"only {kind} slices" if found else "no sure slice label of CLIP",
        "slices with and without a tumour",
        "check that these are FLAIR scans of tumour patients, try other text prompts "
        "(--set labels.prompts=FILE), or give --slice-labels",
    )
