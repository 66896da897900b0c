"""Figures of the bundled models on phantoms that training never saw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from segment_anything.modeling import Sam
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from clisc_nnunet.bundled.captions import draw_captions
from clisc_nnunet.bundled.phantom_set import TrainingVolume
from clisc_nnunet.bundled.slice_sampler import MIN_BRAIN_PIXELS, MIN_TUMOUR_PIXELS
from clisc_nnunet.models.clip_models import ClipModel
from clisc_nnunet.prompts import box_prompt, make_prompts
from clisc_nnunet.records import Prompts
from clisc_nnunet.sam import embed, segment
from clisc_nnunet.settings import PromptSettings, SamSettings
from clisc_nnunet.slice_labels import PAPER_PROMPTS, class_embeddings, tumour_probability


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Overlap of two masks; 1 if both are empty."""
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else 1.0


def labelled_slices(volumes: Sequence[TrainingVolume]) -> tuple[np.ndarray, np.ndarray]:
    """Axial slices, uint8 (n, row, column), and their truth, bool (n,); unclear ones left out."""
    pixels, truth = [], []
    for volume in volumes:
        area = volume.tumour.sum(axis=(1, 2))
        brain = (volume.pixels > 0).sum(axis=(1, 2))
        clear = (brain >= MIN_BRAIN_PIXELS) & ((area == 0) | (area >= MIN_TUMOUR_PIXELS))
        pixels.append(volume.pixels[clear])
        truth.append(area[clear] > 0)
    return np.concatenate(pixels), np.concatenate(truth)


def classification_figures(probability: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """AUC and balanced accuracy of probabilities (n,) against truth (n,)."""
    return {
        "slice_auc": round(float(roc_auc_score(truth, probability)), 4),
        "slice_balanced_accuracy": round(
            float(balanced_accuracy_score(truth, probability > 0.5)), 4
        ),
    }


def clip_figures(clip: ClipModel, volumes: Sequence[TrainingVolume]) -> dict[str, float]:
    """Slices by the paper's prompts, which the model never read, and by averaged paraphrases."""
    pixels, truth = labelled_slices(volumes)
    normal, tumour = draw_captions(64, seed=77)
    sets: dict[str, dict[str, tuple[str, ...]]] = {
        "paper": PAPER_PROMPTS,
        "ensemble": {"normal": tuple(normal), "tumour": tuple(tumour)},
    }
    figures = {}
    for name, prompts in sets.items():
        probability = tumour_probability(clip, class_embeddings(clip, prompts), pixels)
        found = classification_figures(probability, truth)
        figures.update({f"{name}_{key}": value for key, value in found.items()})
    return figures


def sam_figures(sam: Sam, volumes: Sequence[TrainingVolume], every: int = 3) -> dict[str, float]:
    """Mean Dice per volume of axial masks from true boxes, exact and spoilt."""
    figures = {}
    for name, spoil in (
        ("true_box", 0.0),
        ("box_20_percent_off", 0.2),
        ("box_50_percent_off", 0.5),
    ):
        scores = [
            _volume_dice(sam, volume, spoil, every) for volume in volumes if volume.tumour.any()
        ]
        figures[f"dice_{name}"] = round(float(np.mean(scores)), 4)
    return figures


def _volume_dice(sam: Sam, volume: TrainingVolume, spoil: float, every: int) -> float:
    """Dice over every n-th plane with a tumour, boxes shifted and scaled by up to `spoil`."""
    planes = np.flatnonzero(volume.tumour.any(axis=(1, 2)))[::every]
    pixels, truth = volume.pixels[planes], volume.tumour[planes]
    rng = np.random.default_rng(5)
    prompts = make_prompts(pixels, truth, PromptSettings(margin=0))
    side = pixels.shape[-1]
    boxes = []
    for mask in truth:
        box = box_prompt(mask, 0)
        centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2] + 1
        centre = centre + rng.uniform(-spoil, spoil, 2) * size / 2
        size = size * np.exp(rng.uniform(-spoil, spoil, 2))
        boxes.append(np.clip(np.concatenate([centre - size / 2, centre + size / 2]), 0, side - 1))
    prompts = Prompts(np.array(boxes, np.float32), prompts.points, prompts.labels)
    settings = SamSettings()
    masks = segment(sam, embed(sam, pixels, settings), prompts, side, settings)
    return dice(masks.logits > 0, truth)
