"""What differs between the trainings of the three bundled models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from clisc_nnunet.bundled.augment import AugmentSettings
from clisc_nnunet.bundled.captions import draw_captions
from clisc_nnunet.bundled.figures import (
    classification_figures,
    clip_figures,
    labelled_slices,
    sam_figures,
)
from clisc_nnunet.bundled.phantom_set import TrainingVolume
from clisc_nnunet.bundled.slice_sampler import SliceSampler
from clisc_nnunet.bundled.train_classifier import PretrainingNet, classifier_step
from clisc_nnunet.bundled.train_clip import clip_step, tokens_of
from clisc_nnunet.bundled.train_sam import sam_step
from clisc_nnunet.models.backbones import TinyBackboneConfig
from clisc_nnunet.models.clip_models import (
    ClipModel,
    ClosedVocabulary,
    TinyClipConfig,
    build_tiny_clip,
)
from clisc_nnunet.models.sam_models import TinySamConfig, build_tiny_sam

Step = Callable[[int], tuple[torch.Tensor, dict[str, float]]]


@dataclass(frozen=True)
class Recipe:
    """How to build, step and measure one model.

    Parameters
    ----------
    build : callable
        seed -> module, architecture as JSON.
    step : callable
        module, sampler, seed, augment -> step of `training.train`.
    figures : callable
        module, held-out volumes -> figures by name.
    views : tuple of 3 float
        Shares of axial, coronal and sagittal slices.
    shipped : callable
        The part of the module that goes into the package.
    """

    build: Callable[[int], tuple[Any, dict[str, Any]]]
    step: Callable[[Any, SliceSampler, int, AugmentSettings], Step]
    figures: Callable[[Any, Sequence[TrainingVolume]], dict[str, float]]
    views: tuple[float, float, float]
    shipped: Callable[[Any], torch.nn.Module] = lambda module: module


CAPTIONS_LEARNT = 6000


def _build_sam(seed: int) -> tuple[Any, dict[str, Any]]:
    torch.manual_seed(seed)
    config = TinySamConfig()
    return build_tiny_sam(config), asdict(config)


def _clip_config() -> TinyClipConfig:
    """Config whose vocabulary is that of the captions; the paper's prompts are within it."""
    import open_clip

    config = TinyClipConfig()
    normal, tumour = draw_captions(CAPTIONS_LEARNT, seed=0)
    tokenizer = open_clip.tokenizer.SimpleTokenizer(context_length=config.context)
    used = tokenizer(normal + tumour).unique().tolist()
    return replace(config, vocabulary=tuple(t for t in used if t))


def _build_clip(seed: int) -> tuple[Any, dict[str, Any]]:
    torch.manual_seed(seed)
    config = _clip_config()
    return build_tiny_clip(config), asdict(config)


def _clip_step(module: Any, sampler: SliceSampler, seed: int, augment: AugmentSettings) -> Step:
    config = _clip_config()
    tokenize = ClosedVocabulary(config.vocabulary, config.context)
    normal, tumour = draw_captions(CAPTIONS_LEARNT, seed=0)
    # Close-ups are for SAM; a slice label belongs to the whole slice.
    augment = replace(augment, close_up=0.0)
    return clip_step(
        module, sampler, tokens_of(tumour, tokenize), tokens_of(normal, tokenize), seed, augment
    )


def _clip_figures(module: Any, volumes: Sequence[TrainingVolume]) -> dict[str, float]:
    config = _clip_config()
    tokenize = ClosedVocabulary(config.vocabulary, config.context)
    half = (0.5, 0.5, 0.5)
    clip = ClipModel(module.eval(), tokenize, config.image_size, half, half, "clip", "")
    return clip_figures(clip, volumes)


def _build_classifier(seed: int) -> tuple[Any, dict[str, Any]]:
    torch.manual_seed(seed)
    config = TinyBackboneConfig()
    return PretrainingNet(config), asdict(config)


def _classifier_step(
    module: Any, sampler: SliceSampler, seed: int, augment: AugmentSettings
) -> Step:
    return classifier_step(module, sampler, seed, replace(augment, close_up=0.0))


def _classifier_figures(module: Any, volumes: Sequence[TrainingVolume]) -> dict[str, float]:
    pixels, truth = labelled_slices(volumes)
    return classification_figures(module.eval().tumour_probability(pixels), truth)


RECIPES = {
    "sam": Recipe(_build_sam, sam_step, sam_figures, views=(0.6, 0.2, 0.2)),
    "clip": Recipe(_build_clip, _clip_step, _clip_figures, views=(0.76, 0.12, 0.12)),
    "classifier": Recipe(
        _build_classifier,
        _classifier_step,
        _classifier_figures,
        views=(0.76, 0.12, 0.12),
        shipped=lambda module: module.backbone,
    ),
}
