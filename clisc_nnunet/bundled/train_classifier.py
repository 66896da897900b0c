"""Train the bundled backbone of the slice classifier, with a slice loss and a patch loss.

The patch loss makes the features of the middle layers localise tumours, on which the CAM of the
final classifier depends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from clisc_nnunet.bundled.augmentation import AugmentSettings, augmented_batch, step_rng
from clisc_nnunet.bundled.slice_sampler import MIN_TUMOUR_PIXELS, SliceSampler
from clisc_nnunet.models.backbones import TinyBackboneConfig, build_tiny_backbone

SLICES = 32
TUMOUR_SHARE = 0.5
PATCH_WEIGHT = 1.0


class PretrainingNet(nn.Module):
    """Backbone with a slice head, and patch heads on `layer2` and `layer3`."""

    def __init__(self, config: TinyBackboneConfig) -> None:
        super().__init__()
        self.backbone: Any = build_tiny_backbone(config)
        self.slice_head = nn.Linear(config.channels[3], 1)
        self.patch_heads = nn.ModuleList(nn.Conv2d(config.channels[k], 1, 1) for k in (1, 2))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Map normalised images, (n, 3, side, side), to slice logits (n,) and patch logits."""
        net = self.backbone
        first = net.layer1(net.maxpool(net.act1(net.bn1(net.conv1(images)))))
        second = net.layer2(first)
        third = net.layer3(second)
        logits = self.slice_head(net.global_pool(net.layer4(third)))[:, 0]
        patches = [head(x)[:, 0] for head, x in zip(self.patch_heads, (second, third), strict=True)]
        return logits, patches

    def tumour_probability(self, pixels: np.ndarray, batch: int = 64) -> np.ndarray:
        """Tumour probability, float32 (n,), of slices, uint8 (n, row, column)."""
        parts = []
        with torch.inference_mode():
            for start in range(0, len(pixels), batch):
                images = torch.from_numpy(pixels[start : start + batch])[:, None].float() / 255
                parts.append(self(_normalised(images))[0].sigmoid().numpy())
        return np.concatenate(parts)


def classifier_step(
    module: PretrainingNet, sampler: SliceSampler, seed: int, augment: AugmentSettings
) -> Callable[[int], tuple[torch.Tensor, dict[str, float]]]:
    """Step function for `training_loop.train`; its randomness depends on seed and step number."""

    def step(number: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = step_rng(seed, number)
        images, masks = augmented_batch(sampler, SLICES, TUMOUR_SHARE, augment, rng)
        masks = masks[:, :1]
        logits, patches = module(_normalised(images))

        area = masks.sum((1, 2, 3))
        clear = (area == 0) | (area >= MIN_TUMOUR_PIXELS)
        truth = (area > 0).float()
        slice_loss = F.binary_cross_entropy_with_logits(logits[clear], truth[clear] * 0.96 + 0.02)
        patch_loss = torch.stack(
            [
                F.binary_cross_entropy_with_logits(
                    patch, F.adaptive_avg_pool2d(masks, patch.shape[-2:])[:, 0]
                )
                for patch in patches
            ]
        ).mean()
        hits = (logits[clear] > 0) == (truth[clear] > 0)
        return slice_loss + PATCH_WEIGHT * patch_loss, {
            "accuracy": float(hits.float().mean()),
            "patch_loss": float(patch_loss.detach()),
        }

    return step


def _normalised(images: torch.Tensor) -> torch.Tensor:
    """Convert grey images in 0..1, (n, 1, side, side), to input of the backbone."""
    return ((images - 0.5) / 0.5).expand(-1, 3, -1, -1)
