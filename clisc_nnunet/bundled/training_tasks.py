"""Training tasks of the bundled models: model, data, loss and metrics of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from clisc_nnunet.bundled.augmentation import AugmentSettings
from clisc_nnunet.bundled.captions import draw_captions
from clisc_nnunet.bundled.held_out_metrics import (
    classification_metrics,
    clip_metrics,
    labelled_slices,
    sam_metrics,
)
from clisc_nnunet.bundled.phantom_set import (
    HELD_OUT_HEADS,
    HELD_OUT_SEEDS,
    UNSEEN_SEEDS,
    TrainingVolume,
    load_heads,
    load_volumes,
)
from clisc_nnunet.bundled.slice_sampler import SliceSampler
from clisc_nnunet.bundled.train_brain import brain_metrics, brain_step
from clisc_nnunet.bundled.train_classifier import PretrainingNet, classifier_step
from clisc_nnunet.bundled.train_clip import clip_step, tokens_of
from clisc_nnunet.bundled.train_sam import PromptedNet, sam_step
from clisc_nnunet.bundled.training_loop import LoopSettings
from clisc_nnunet.models.backbones import TinyBackboneConfig
from clisc_nnunet.models.brain_unet import TinyBrainConfig, build_tiny_brain_net
from clisc_nnunet.models.clip import (
    ClipModel,
    ClosedVocabulary,
    TinyClipConfig,
    build_tiny_clip,
)
from clisc_nnunet.models.sam import TinySamConfig, build_tiny_sam

Step = Callable[[int], tuple[torch.Tensor, dict[str, float]]]


@dataclass(frozen=True)
class TrainingTask:
    """How to build, train and evaluate one model.

    Parameters
    ----------
    build : callable
        seed -> module, architecture as a JSON object.
    step : callable
        module, source, seed, augment -> step function for `training_loop.train`.
    metrics : callable
        module, held-out phantoms -> metrics by name.
    loop : LoopSettings
    source : callable
        training phantoms -> `source` of `step`.
    load : callable
        folder, seeds or None -> phantoms.
    held_out : mapping
        Seeds of the held-out phantoms, by name in the model card.
    shipped : callable
        module -> the part to be shipped.
    """

    build: Callable[[int], tuple[Any, dict[str, Any]]]
    step: Callable[[Any, Any, int, AugmentSettings], Step]
    metrics: Callable[[Any, Any], dict[str, float]]
    loop: LoopSettings
    source: Callable[[Any], Any]
    load: Callable[[Path, Sequence[int] | None], Any] = load_volumes
    held_out: Mapping[str, Sequence[int]] = field(
        default_factory=lambda: {"held_out": HELD_OUT_SEEDS, "unseen_kinds": UNSEEN_SEEDS}
    )
    shipped: Callable[[Any], torch.nn.Module] = lambda module: module


TRAINING_CAPTIONS = 6000


def _build_sam(seed: int) -> tuple[Any, dict[str, Any]]:
    torch.manual_seed(seed)
    config = TinySamConfig()
    return PromptedNet(build_tiny_sam(config)), asdict(config)


def _clip_config() -> TinyClipConfig:
    """Config with the vocabulary of the captions, which includes that of the paper's prompts."""
    import open_clip

    config = TinyClipConfig()
    normal, tumour = draw_captions(TRAINING_CAPTIONS, seed=0)
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
    normal, tumour = draw_captions(TRAINING_CAPTIONS, seed=0)
    # No close-ups, since a label refers to the full slice.
    augment = replace(augment, close_up=0.0)
    return clip_step(
        module, sampler, tokens_of(tumour, tokenize), tokens_of(normal, tokenize), seed, augment
    )


def _clip_metrics(module: Any, volumes: Sequence[TrainingVolume]) -> dict[str, float]:
    config = _clip_config()
    tokenize = ClosedVocabulary(config.vocabulary, config.context)
    half = (0.5, 0.5, 0.5)
    clip = ClipModel(module.eval(), tokenize, config.image_size, half, half, "clip", "")
    return clip_metrics(clip, volumes)


def _build_classifier(seed: int) -> tuple[Any, dict[str, Any]]:
    torch.manual_seed(seed)
    config = TinyBackboneConfig()
    return PretrainingNet(config), asdict(config)


def _classifier_step(
    module: Any, sampler: SliceSampler, seed: int, augment: AugmentSettings
) -> Step:
    return classifier_step(module, sampler, seed, replace(augment, close_up=0.0))


def _classifier_metrics(module: Any, volumes: Sequence[TrainingVolume]) -> dict[str, float]:
    pixels, truth = labelled_slices(volumes)
    return classification_metrics(module.eval().tumour_probability(pixels), truth)


def _build_brain(seed: int) -> tuple[Any, dict[str, Any]]:
    torch.manual_seed(seed)
    config = TinyBrainConfig()
    return build_tiny_brain_net(config), asdict(config)


# Probabilities of axial, coronal and sagittal slices.
_SAM_VIEWS, _SLICE_VIEWS = (0.6, 0.2, 0.2), (0.76, 0.12, 0.12)

TRAINING_TASKS = {
    "sam": TrainingTask(
        _build_sam,
        sam_step,
        lambda module, volumes: sam_metrics(module.sam, volumes),
        LoopSettings(8000, 8e-4),
        partial(SliceSampler, views=_SAM_VIEWS),
        shipped=lambda module: module.sam,
    ),
    "clip": TrainingTask(
        _build_clip,
        _clip_step,
        _clip_metrics,
        LoopSettings(4000, 1e-3),
        partial(SliceSampler, views=_SLICE_VIEWS),
    ),
    "classifier": TrainingTask(
        _build_classifier,
        _classifier_step,
        _classifier_metrics,
        LoopSettings(2000, 2e-3),
        partial(SliceSampler, views=_SLICE_VIEWS),
        shipped=lambda module: module.backbone,
    ),
    "brain": TrainingTask(
        _build_brain,
        brain_step,
        brain_metrics,
        LoopSettings(800, 3e-3),
        source=list,
        load=load_heads,
        held_out={"held_out": HELD_OUT_HEADS},
    ),
}
