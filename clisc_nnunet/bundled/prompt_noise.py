"""Corrupted prompts for training SAM, with errors like those of prompts from a CAM."""

from __future__ import annotations

import numpy as np

from clisc_nnunet.stages.sam.prompts import box_prompt, corner_points, positive_points

POINTS = 5
NOT_A_POINT = -1


def corrupted_prompt(
    pixels: np.ndarray, tumour: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sample a training prompt and its target mask.

    Parameters
    ----------
    pixels : uint8 ndarray of shape (row, column)
    tumour : bool ndarray of the same shape
    rng : numpy.random.Generator

    Returns
    -------
    box : float32 ndarray of shape (4,)
        XYXY in pixels: close to the tumour's box; scaled by 0.4 to 2.5 and shifted by up to half
        its size; around a part of the tumour; around the brain; or at a random location.
    points : float32 ndarray of shape (9, 2), labels : int64 ndarray of shape (9,)
        As in stage 9, sometimes with one positive point at a random location.
    target : bool ndarray of shape (row, column)
        The tumour; empty if the box misses it.
    """
    brain = pixels > 0
    box = _corrupted_box(brain, tumour, rng)
    roi = _roi_in(box, brain, rng)
    points = np.zeros((POINTS, 2), np.float32)
    labels = np.full(POINTS, NOT_A_POINT)
    if roi.any():
        points = positive_points(pixels, roi, POINTS, bright=0.6)
        labels = np.ones(POINTS, np.int64)
        if rng.random() < 0.15:
            points[rng.integers(POINTS)] = rng.uniform(0, len(pixels), 2)
    points = np.concatenate([points, corner_points(box)])
    labels = np.concatenate([labels, np.zeros(4, np.int64)])
    hit = tumour & _rectangle(box, tumour.shape)
    return box, points, labels, tumour if hit.any() else np.zeros_like(tumour)


def _corrupted_box(brain: np.ndarray, tumour: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    side = len(brain)
    chance = rng.random()
    if tumour.any() and chance < 0.9:
        box = box_prompt(tumour, 0)
        centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2] + 1
        if chance < 0.2:
            box = box + rng.uniform(0, 9, 4) * [-1, -1, 1, 1]
        elif chance < 0.62:
            centre = centre + rng.uniform(-0.5, 0.5, 2) * size * rng.choice([1.0, 0.5, 0.2])
            size = size * np.exp(rng.uniform(np.log(0.4), np.log(2.5), 2))
            box = np.concatenate([centre - size / 2, centre + size / 2])
        elif chance < 0.8:
            part = rng.uniform(0.3, 0.9, 2)
            corner = box[:2] + rng.random(2) * (1 - part) * size
            box = np.concatenate([corner, corner + part * size])
        else:
            box = box_prompt(brain, 0) + rng.uniform(-4, 4, 4)
    elif brain.any() and rng.random() < 0.15:
        box = box_prompt(brain, 0)
    else:
        places = np.argwhere(brain) if brain.any() else np.array([[side // 2, side // 2]])
        centre = places[rng.integers(len(places))][::-1]
        size = np.exp(rng.uniform(np.log(6), np.log(60), 2))
        box = np.concatenate([centre - size / 2, centre + size / 2])
    box = np.clip(box, 0, side - 4)
    box[2:] = np.maximum(box[2:], box[:2] + 3)
    return box.astype(np.float32)


def _roi_in(box: np.ndarray, brain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brain inside the box, or inside the ellipse in it."""
    roi = _rectangle(box, brain.shape)
    if rng.random() < 0.5:
        rows, columns = np.mgrid[: brain.shape[0], : brain.shape[1]]
        x0, y0, x1, y1 = box
        roi &= ((2 * columns - x0 - x1) / (x1 - x0)) ** 2 + (
            (2 * rows - y0 - y1) / (y1 - y0)
        ) ** 2 < 1
    return roi & brain


def _rectangle(box: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    x0, y0, x1, y1 = box.astype(int)
    inside = np.zeros(shape, bool)
    inside[y0 : y1 + 1, x0 : x1 + 1] = True
    return inside
