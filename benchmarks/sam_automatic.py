"""Baseline: SAM prompted with a grid of points; the mask with the highest predicted IoU is kept.

segment_anything's `SamAutomaticMaskGenerator` uses 32x32 points with three masks each; here, 8x8
points with the single mask for which the bundled SAM was trained. The bundled SAM was never trained
without boxes and returns empty masks then, so it also gets a box around each point.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from segment_anything.modeling import Sam

from clisc_nnunet.settings import SamSettings
from clisc_nnunet.stages.sam.batched_predictor import decode, embed
from clisc_nnunet.stages.sam.prompts_and_masks import Masks

POINTS_PER_SIDE = 8


def point_grid(brain: np.ndarray, per_side: int = POINTS_PER_SIDE) -> np.ndarray:
    """Points of a regular grid that are inside the brain.

    Parameters
    ----------
    brain : bool ndarray of shape (side, side)
    per_side : int
        Number of grid points per side.

    Returns
    -------
    float32 ndarray of shape (n, 2)
        (x, y) in pixels.
    """
    steps = ((np.arange(per_side) + 0.5) * len(brain) / per_side).astype(int)
    rows, columns = (grid.ravel() for grid in np.meshgrid(steps, steps, indexing="ij"))
    on_brain = brain[rows, columns]
    return np.stack([columns, rows], axis=1)[on_brain].astype(np.float32)


@torch.inference_mode()
def automatic_masks(
    sam: Sam, pixels: np.ndarray, brain: np.ndarray, box_share: float = 0.0
) -> Masks:
    """Best automatic mask of each slice.

    Parameters
    ----------
    sam : Sam
    pixels : uint8 ndarray of shape (n, side, side)
    brain : bool ndarray of the same shape
    box_share : float
        Side of the box around each point, relative to the slice; 0: points only.

    Returns
    -------
    Masks
        One per slice; empty, with a score of 0, if no grid point is inside the brain.
    """
    side = pixels.shape[-1]
    scale = sam.image_encoder.img_size / side
    logits = np.full(pixels.shape, -10.0, np.float32)
    score = np.zeros(len(pixels), np.float32)
    for number in np.flatnonzero([len(point_grid(inside)) > 0 for inside in brain]):
        points = torch.from_numpy(point_grid(brain[number])).to(sam.device)
        reach = box_share * side / 2
        boxes = torch.cat([points - reach, points + reach], dim=1).clamp(0, side - 1)
        low, iou = decode(
            sam,
            embed(sam, pixels[number][None], SamSettings()).expand(len(points), -1, -1, -1),
            points[:, None] * scale,
            torch.ones((len(points), 1), dtype=torch.int64, device=sam.device),
            boxes * scale if box_share else None,
        )
        best = int(iou.argmax())
        full = F.interpolate(low[best][None], (side, side), mode="bilinear", align_corners=False)
        logits[number] = full[0, 0].float().cpu().numpy()
        score[number] = float(iou[best])
    return Masks(logits, score)
