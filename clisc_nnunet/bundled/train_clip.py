"""Train the bundled CLIP: contrast slices, and their patches, with captions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from clisc_nnunet.bundled.augmentation import AugmentSettings, augmented_batch, step_rng
from clisc_nnunet.bundled.slice_sampler import SliceSampler
from clisc_nnunet.models.clip import patch_embeddings

SLICES, CAPTIONS = 16, 4
TUMOUR_SHARE = 0.5
PATCH_WEIGHT = 1.5


def clip_step(
    module: Any,
    sampler: SliceSampler,
    tumour_tokens: torch.Tensor,
    normal_tokens: torch.Tensor,
    seed: int,
    augment: AugmentSettings,
) -> Callable[[int], tuple[torch.Tensor, dict[str, float]]]:
    """Step function for `training_loop.train`; its randomness depends on seed and step number.

    Parameters
    ----------
    module : open_clip.CLIP
    sampler : SliceSampler
    tumour_tokens, normal_tokens : int64 Tensor of shape (captions, context)
        Captions to sample from.
    seed : int
    augment : AugmentSettings
    """

    def step(number: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = step_rng(seed, number)
        images, masks = augmented_batch(sampler, SLICES, TUMOUR_SHARE, augment, rng)
        masks = masks[:, :1]

        inputs = ((images - 0.5) / 0.5).expand(-1, 3, -1, -1)
        pooled, patches = patch_embeddings(module, inputs)
        texts = _texts(module, [normal_tokens, tumour_tokens], rng)
        scale = module.logit_scale.exp().clamp(max=100)

        area = masks.sum((1, 2, 3))
        truth = (area > 0).long()
        # Slices with a smaller tumour are ambiguous.
        clear = (area == 0) | (area >= 24)
        logits = _two_class_logits(pooled, texts, scale)
        slice_loss = F.cross_entropy(
            logits[clear].flatten(0, 1),
            truth[clear, None].expand(-1, CAPTIONS).flatten(),
            label_smoothing=0.04,
        )

        share = F.adaptive_avg_pool2d(masks, (patches.shape[1], patches.shape[2]))[:, 0]
        patch_logits = _two_class_logits(patches, texts[:, :1], scale)[..., 0, :]
        margin = patch_logits[..., 1] - patch_logits[..., 0]
        patch_loss = _patch_loss(margin, share)
        hits = logits[clear].argmax(-1) == truth[clear, None]
        return slice_loss + PATCH_WEIGHT * patch_loss, {
            "accuracy": float(hits.float().mean()),
            "patch_loss": float(patch_loss.detach()),
        }

    return step


def tokens_of(
    captions: Sequence[str], tokenize: Callable[[Sequence[str]], torch.Tensor]
) -> torch.Tensor:
    """Token ids of captions, int64 (captions, context); tokenized in chunks to limit memory."""
    chunks = [tokenize(captions[start : start + 4096]) for start in range(0, len(captions), 4096)]
    return torch.cat(chunks)


def _texts(module: Any, classes: list[torch.Tensor], rng: np.random.Generator) -> torch.Tensor:
    """Normalised embeddings of random captions, (2, CAPTIONS, embedding): normal, tumour."""
    drawn = torch.cat(
        [tokens[torch.from_numpy(rng.integers(len(tokens), size=CAPTIONS))] for tokens in classes]
    )
    return module.encode_text(drawn, normalize=True).unflatten(0, (2, CAPTIONS))


def _two_class_logits(
    images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """Scaled cosine similarities, (..., captions, 2), of images with pairs of captions."""
    unit = F.normalize(images, dim=-1)
    return scale * torch.einsum("...e,kce->...ck", unit, texts)


def _patch_loss(logits: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Cross-entropy and Dice of patches, (n, h, w), against their share of tumour."""
    probability = logits.sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, share)
    dice = (2 * (probability * share).sum() + 5) / (probability.sum() + share.sum() + 5)
    return 4 * cross_entropy + 1 - dice
