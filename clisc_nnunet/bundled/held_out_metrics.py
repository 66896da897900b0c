"""Metrics of the bundled models on held-out phantoms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr
from segment_anything.modeling import Sam
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from clisc_nnunet.bundled.captions import draw_captions
from clisc_nnunet.bundled.phantom_set import TrainingVolume
from clisc_nnunet.bundled.slice_sampler import MIN_BRAIN_PIXELS, MIN_TUMOUR_PIXELS
from clisc_nnunet.metrics import dice, iou
from clisc_nnunet.models.clip import ClipModel
from clisc_nnunet.settings import PromptSettings, SamSettings
from clisc_nnunet.stages.clip_labels import PAPER_TEXT_PROMPTS, class_embeddings, tumour_probability
from clisc_nnunet.stages.sam.batched_predictor import embed, segment
from clisc_nnunet.stages.sam.prompts import corner_points, make_prompts
from clisc_nnunet.stages.sam.prompts_and_masks import Masks, Prompts


def labelled_slices(volumes: Sequence[TrainingVolume]) -> tuple[np.ndarray, np.ndarray]:
    """Unambiguous axial slices, uint8 (n, row, column), and their truth, bool (n,)."""
    pixels, truth = [], []
    for volume in volumes:
        area = volume.tumour.sum(axis=(1, 2))
        brain = (volume.pixels > 0).sum(axis=(1, 2))
        clear = (brain >= MIN_BRAIN_PIXELS) & ((area == 0) | (area >= MIN_TUMOUR_PIXELS))
        pixels.append(volume.pixels[clear])
        truth.append(area[clear] > 0)
    return np.concatenate(pixels), np.concatenate(truth)


def classification_metrics(probability: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """AUC and balanced accuracy of probabilities (n,) against truth (n,)."""
    return {
        "slice_auc": round(float(roc_auc_score(truth, probability)), 4),
        "slice_balanced_accuracy": round(
            float(balanced_accuracy_score(truth, probability > 0.5)), 4
        ),
    }


def clip_metrics(clip: ClipModel, volumes: Sequence[TrainingVolume]) -> dict[str, float]:
    """Classification by the paper's prompts, unseen in training, and by a prompt ensemble."""
    pixels, truth = labelled_slices(volumes)
    normal, tumour = draw_captions(64, seed=77)
    sets: dict[str, dict[str, tuple[str, ...]]] = {
        "paper": PAPER_TEXT_PROMPTS,
        "ensemble": {"normal": tuple(normal), "tumour": tuple(tumour)},
    }
    metrics = {}
    for name, prompts in sets.items():
        probability = tumour_probability(clip, class_embeddings(clip, prompts), pixels)
        found = classification_metrics(probability, truth)
        metrics.update({f"{name}_{key}": value for key, value in found.items()})
    return metrics


PROMPTS = {
    "true_box": (0.0, 0),
    "true_box_margin_5": (0.0, 5),
    "true_box_margin_10": (0.0, 10),
    "box_20_percent_off": (0.2, 0),
    "box_50_percent_off": (0.5, 0),
}
"""Box prompts to evaluate SAM with: relative shift and scaling, margin in pixels."""


def sam_metrics(sam: Sam, volumes: Sequence[TrainingVolume], every: int = 3) -> dict[str, float]:
    """Mean Dice per volume of axial masks from exact and corrupted boxes; calibration of IoU.

    Parameters
    ----------
    sam : Sam
    volumes : sequence of TrainingVolume
        Volumes without a tumour are ignored.
    every : int
        Use every n-th plane.

    Returns
    -------
    dict
        `dice_NAME` for each name in `PROMPTS`; `iou_spearman`: rank correlation of predicted and
        true IoU over all slices and prompts.
    """
    metrics: dict[str, float] = {}
    predicted, true = [], []
    shown = [volume for volume in volumes if volume.tumour.any()]
    for name, (corruption, margin) in PROMPTS.items():
        scores = []
        for volume in shown:
            planes = np.flatnonzero(volume.tumour.any(axis=(1, 2)))[::every]
            truth = volume.tumour[planes]
            masks = corrupted_box_masks(sam, volume.pixels[planes], truth, corruption, margin)
            scores.append(dice(masks.logits > 0, truth, both_empty=1.0))
            predicted.append(masks.predicted_iou)
            true.append(iou(masks.logits > 0, truth, both_empty=0.0, axis=(1, 2)))
        metrics[f"dice_{name}"] = round(float(np.mean(scores)), 4)
    correlation = spearmanr(np.concatenate(predicted), np.concatenate(true)).statistic
    metrics["iou_spearman"] = round(float(correlation), 4)
    return metrics


def corrupted_box_masks(
    sam: Sam, pixels: np.ndarray, truth: np.ndarray, corruption: float, margin: int = 0
) -> Masks:
    """SAM's masks for the true boxes, with points as in stage 9.

    Parameters
    ----------
    sam : Sam
    pixels : uint8 ndarray of shape (n, side, side)
    truth : bool ndarray of the same shape
        No mask may be empty.
    corruption : float
        Boxes are shifted by up to half of it times their size, and scaled by up to exp(corruption).
    margin : int
        Margin around the true box in pixels.
    """
    rng = np.random.default_rng(5)
    prompts = make_prompts(pixels, truth, PromptSettings(margin=margin))
    side = pixels.shape[-1]
    centres = (prompts.boxes[:, :2] + prompts.boxes[:, 2:]) / 2
    sizes = prompts.boxes[:, 2:] - prompts.boxes[:, :2] + 1
    centres = centres + rng.uniform(-corruption, corruption, centres.shape) * sizes / 2
    halves = sizes * np.exp(rng.uniform(-corruption, corruption, sizes.shape)) / 2
    boxes = np.concatenate([centres - halves, centres + halves], axis=1)
    boxes = np.clip(boxes, 0, side - 1).astype(np.float32) if corruption else prompts.boxes
    corners = np.stack([corner_points(box) for box in boxes])
    points = np.concatenate([prompts.points[:, :-4], corners], axis=1)
    prompts = Prompts(boxes, points, prompts.labels)
    settings = SamSettings()
    return segment(sam, embed(sam, pixels, settings), prompts, side, settings)
