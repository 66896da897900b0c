"""A loaded CLIP with its tokenizer and preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from clisc_nnunet.models.registry import Channels


@dataclass(frozen=True)
class ClipModel:
    """A CLIP ready for inference.

    Parameters
    ----------
    module : open_clip.CLIP
    tokenize : callable
        Texts to token ids, int64 (n, context).
    image_size : int
        Side of the square input in pixels.
    mean, std : tuple of 3 float
        Normalisation of pixels in 0..1.
    name : str
        Name or path that loads the same model again.
    sha256 : str
        Hash of the weight file.
    taken_as : str
        JSON of how the weight file was interpreted; empty for the defaults of its tensor shapes.
    """

    module: Any  # open_clip.CLIP; the library is not typed
    tokenize: Callable[[Sequence[str]], torch.Tensor]
    image_size: int
    mean: Channels
    std: Channels
    name: str
    sha256: str
    taken_as: str = ""

    @property
    def identity(self) -> str:
        """Weight hash plus interpretation: equal for models with equal outputs."""
        return f"{self.sha256} {self.taken_as}".strip()

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.module.logit_scale.device

    @property
    def scale(self) -> float:
        """Factor of the cosine similarities before the softmax."""
        return float(self.module.logit_scale.detach().exp())

    def to_input(self, pixels: np.ndarray) -> torch.Tensor:
        """Slices, uint8 (n, row, column), as normalised input, float32 (n, 3, size, size)."""
        images = torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device)[:, None].float()
        if images.shape[-2:] != (self.image_size, self.image_size):
            size = (self.image_size, self.image_size)
            images = F.interpolate(images, size, mode="bicubic", antialias=True).clamp(0, 255)
        mean = torch.tensor(self.mean, device=self.device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=self.device).view(1, 3, 1, 1)
        return (images / 255 - mean) / std

    @torch.inference_mode()
    def embed_images(self, pixels: np.ndarray) -> torch.Tensor:
        """Unit embeddings, float32 (n, embedding), of slices, uint8 (n, row, column)."""
        return self.module.encode_image(self.to_input(pixels), normalize=True).float()

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit embeddings, float32 (n, embedding), of text prompts."""
        tokens = self.tokenize(texts).to(self.device)
        return self.module.encode_text(tokens, normalize=True).float()
