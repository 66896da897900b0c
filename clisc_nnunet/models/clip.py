"""CLIP: the bundled tiny one with its closed vocabulary, and open_clip's published models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F

from clisc_nnunet.errors import UserError
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.models.locate import locate
from clisc_nnunet.models.open_clip_loading import load_published
from clisc_nnunet.models.registry import BUNDLED_NAME, HALF
from clisc_nnunet.models.weights import bundled_state, load_strictly


@dataclass(frozen=True)
class TinyClipConfig:
    """Architecture of the bundled CLIP: open_clip's class, small."""

    embedding: int = 64
    image_size: int = 128
    patch_size: int = 8
    vision_width: int = 96
    vision_layers: int = 5
    head_width: int = 32
    text_width: int = 64
    text_layers: int = 2
    text_heads: int = 4
    context: int = 48
    vocabulary: tuple[int, ...] = field(default=(), repr=False)
    """Token ids of open_clip's tokenizer that the model has learnt, ascending."""


@dataclass(frozen=True)
class ClipModel:
    """A CLIP ready to use, with what its input must look like.

    `taken_as` tells how the weight file was read, if otherwise than a bare file of its shapes.
    """

    module: Any  # open_clip.CLIP; the library is not typed
    tokenize: Callable[[Sequence[str]], torch.Tensor]
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    name: str
    sha256: str
    taken_as: str = ""

    @property
    def identity(self) -> str:
        """Equal for models that answer alike: the hash, and how the file was read."""
        return f"{self.sha256} {self.taken_as}".strip()

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.module.logit_scale.device

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
        """Unit embeddings, float32 (n, embedding), of prompts."""
        tokens = self.tokenize(texts).to(self.device)
        return self.module.encode_text(tokens, normalize=True).float()

    @property
    def scale(self) -> float:
        """What a cosine is multiplied by before the softmax."""
        return float(self.module.logit_scale.detach().exp())


class ClosedVocabulary:
    """open_clip's tokenizer, restricted to the tokens a small model has learnt.

    Parameters
    ----------
    vocabulary : tuple of int
        Token ids of open_clip's tokenizer, ascending; the model's ids are their positions plus
        one, 0 is padding. The order keeps the end-of-text token the largest, as open_clip needs.
    context : int
        Length of a prompt in tokens.
    """

    def __init__(self, vocabulary: tuple[int, ...], context: int) -> None:
        self._tokenizer = open_clip.tokenizer.SimpleTokenizer(context_length=context)
        self._position = {token: index + 1 for index, token in enumerate(vocabulary)}

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """Token ids, int64 (n, context); a `UserError` for words that were never learnt."""
        rows = []
        for text, tokens in zip(texts, self._tokenizer(list(texts)).tolist(), strict=True):
            foreign = [t for t in tokens if t and t not in self._position]
            if foreign:
                words = ", ".join(self._tokenizer.decode([t]).strip() for t in foreign)
                raise UserError(
                    f"prompt {text!r}",
                    f"words that the bundled CLIP never learnt ({words})",
                    "words of its closed vocabulary",
                    "rephrase, or take a CLIP of your own with --clip or --models paper",
                )
            rows.append([self._position.get(t, 0) for t in tokens])
        return torch.tensor(rows)


def build_tiny_clip(config: TinyClipConfig) -> Any:
    """Bundled CLIP with random weights."""
    return open_clip.CLIP(
        embed_dim=config.embedding,
        vision_cfg=open_clip.CLIPVisionCfg(
            image_size=config.image_size,
            patch_size=config.patch_size,
            width=config.vision_width,
            layers=config.vision_layers,
            head_width=config.head_width,
        ),
        text_cfg=open_clip.CLIPTextCfg(
            context_length=config.context,
            vocab_size=len(config.vocabulary) + 1,
            width=config.text_width,
            heads=config.text_heads,
            layers=config.text_layers,
        ),
    )


def patch_embeddings(module: Any, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pooled and per-patch embeddings of the image tower, both in the space of the texts.

    Parameters
    ----------
    module : open_clip.CLIP with a vision transformer
    images : Tensor of shape (n, 3, size, size)
        Normalised.

    Returns
    -------
    pooled : Tensor of shape (n, embedding), patches : Tensor of shape (n, h, w, embedding)
        Not normalised.
    """
    visual = module.visual
    was, visual.output_tokens = visual.output_tokens, True
    try:
        pooled, tokens = visual(images)
    finally:
        visual.output_tokens = was
    return pooled, (tokens @ visual.proj).unflatten(1, visual.grid_size)


def load_clip(name: str, device: torch.device) -> ClipModel:
    """Load a CLIP.

    Parameters
    ----------
    name : str
        `bundled`; a name of the registry, downloaded on first use; `ARCHITECTURE/TAG` of
        open_clip; the path of a checkpoint of OpenAI's ViT-B/32, ViT-B/16 or ViT-L/14, or of a
        folder of open_clip; or `NAME=PATH`, a file that is like the entry NAME.
    device : torch.device

    Raises
    ------
    WeightsError
    """
    taken_as = ""
    if name == BUNDLED_NAME:
        state, card = bundled_state("clip")
        config = TinyClipConfig(**card["architecture"])
        module = build_tiny_clip(config)
        load_strictly(module, state, "bundled CLIP")
        tokenize: Any = ClosedVocabulary(tuple(config.vocabulary), config.context)
        mean, std, size = HALF, HALF, config.image_size
        digest = card["sha256"]
    else:
        found = locate(name, "clip")
        clip = load_published(found)
        module, tokenize, mean, std = clip.module, clip.tokenize, clip.mean, clip.std
        size = _side(module.visual.image_size)
        digest, name, taken_as = file_sha256(clip.weights), found.name, clip.taken_as
    module = module.to(device).eval().requires_grad_(False)
    return ClipModel(module, tokenize, size, mean, std, name, digest, taken_as)


def _side(size: int | tuple[int, int]) -> int:
    return size if isinstance(size, int) else size[0]
