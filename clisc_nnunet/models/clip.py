"""Load a CLIP: the small bundled one, with its closed vocabulary, or one of open_clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import open_clip
import torch

from clisc_nnunet.errors import UserError
from clisc_nnunet.models.clip_model import ClipModel
from clisc_nnunet.models.locate import locate
from clisc_nnunet.models.open_clip_loading import load_open_clip
from clisc_nnunet.models.registry import BUNDLED_NAME, HALF
from clisc_nnunet.models.weights import bundled_state, load_strictly


@dataclass(frozen=True)
class TinyClipConfig:
    """Architecture of the bundled CLIP, a small `open_clip.CLIP`."""

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
    """Token ids of open_clip's tokenizer that the model was trained on, ascending."""


def load_clip(name: str, device: torch.device) -> ClipModel:
    """Load a CLIP in evaluation mode, without gradients.

    Parameters
    ----------
    name : str
        `bundled`; a name of the registry, downloaded on first use; `ARCHITECTURE/TAG` of
        open_clip; the path of a checkpoint of OpenAI's ViT-B/32, ViT-B/16 or ViT-L/14, or of an
        open_clip folder; or `NAME=PATH`, a file with the architecture and normalisation of the
        registry's NAME.

    Raises
    ------
    WeightsError
        If the weights are missing, corrupt or of another architecture.
    """
    clip = _bundled_clip() if name == BUNDLED_NAME else load_open_clip(locate(name, "clip"))
    clip.module.to(device).eval().requires_grad_(False)
    return clip


def _bundled_clip() -> ClipModel:
    state, card = bundled_state("clip")
    config = TinyClipConfig(**card["architecture"])
    module = build_tiny_clip(config)
    load_strictly(module, state, "bundled CLIP")
    tokenize = ClosedVocabulary(tuple(config.vocabulary), config.context)
    size = config.image_size
    return ClipModel(module, tokenize, size, HALF, HALF, BUNDLED_NAME, card["sha256"])


class ClosedVocabulary:
    """open_clip's tokenizer, restricted to the tokens that a small model was trained on.

    Parameters
    ----------
    vocabulary : tuple of int
        Token ids of open_clip's tokenizer, ascending. The model's id of a token is its position
        in this tuple plus one; 0 is padding. With this order the end-of-text token has the largest
        id, which open_clip requires.
    context : int
        Length of a text prompt in tokens.
    """

    def __init__(self, vocabulary: tuple[int, ...], context: int) -> None:
        self._tokenizer = open_clip.tokenizer.SimpleTokenizer(context_length=context)
        self._position = {token: index + 1 for index, token in enumerate(vocabulary)}

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """Token ids, int64 (n, context); a `UserError` for words outside the vocabulary."""
        rows = []
        for text, tokens in zip(texts, self._tokenizer(list(texts)).tolist(), strict=True):
            unknown = [t for t in tokens if t and t not in self._position]
            if unknown:
                words = ", ".join(self._tokenizer.decode([t]).strip() for t in unknown)
                raise UserError(
                    f"text prompt {text!r}",
                    f"words that the bundled CLIP does not know ({words})",
                    "words of its closed vocabulary",
                    "rephrase it, or use another CLIP (--clip or --models paper)",
                )
            rows.append([self._position.get(t, 0) for t in tokens])
        return torch.tensor(rows)


def build_tiny_clip(config: TinyClipConfig) -> Any:
    """The bundled architecture with random weights."""
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
    """Pooled and per-patch embeddings of the image tower, in the joint embedding space.

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
