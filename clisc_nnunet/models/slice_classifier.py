"""The slice classifier: a backbone with the paper's head."""

from __future__ import annotations

import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from clisc_nnunet.models.backbones import Backbone


class SliceClassifier(nn.Module):
    """Backbone, Linear, ReLU, dropout, Linear (paper, stage 4).

    Parameters
    ----------
    backbone : Backbone
        Its module is copied, so that every training run starts from the same weights.
    hidden : int
        Width of the head's hidden layer.
    dropout : float
        Dropout probability in the head.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, backbone: Backbone, hidden: int = 256, dropout: float = 0.5) -> None:
        super().__init__()
        self.input_size = backbone.input_size
        self.backbone = copy.deepcopy(backbone.module)
        self.head = nn.Sequential(
            nn.Linear(backbone.channels, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, 2),
        )
        self.register_buffer("mean", torch.tensor(backbone.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(backbone.std).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Classify slices.

        Parameters
        ----------
        images : float32 Tensor of shape (n, 1, row, column)
            Grey values in 0..255; resized to the backbone's input size.

        Returns
        -------
        float32 Tensor of shape (n, 2)
            Logits of the classes normal and tumour.
        """
        size = (self.input_size, self.input_size)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode="bilinear", antialias=True)
        return self.head(self.backbone((images / 255 - self.mean) / self.std))

    @torch.inference_mode()
    def tumour_probability(self, slices: np.ndarray, batch: int = 64) -> np.ndarray:
        """Probability that each slice shows a tumour.

        Parameters
        ----------
        slices : uint8 ndarray of shape (n, row, column)
        batch : int
            Slices per forward pass.

        Returns
        -------
        float32 ndarray of shape (n,)
        """
        if self.training:
            raise RuntimeError("classifier in training mode: call eval() first")
        parts = [
            self(to_images(slices[start : start + batch], self.mean.device)).softmax(1)[:, 1].cpu()
            for start in range(0, len(slices), batch)
        ]
        return torch.cat(parts).numpy() if parts else np.zeros(0, np.float32)


def to_images(slices: np.ndarray, device: torch.device) -> torch.Tensor:
    """Slices, uint8 (n, row, column), as float32 (n, 1, row, column) in 0..255 on a device."""
    return torch.from_numpy(np.ascontiguousarray(slices)).to(device)[:, None].float()
