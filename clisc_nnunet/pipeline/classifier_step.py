"""Stages 4, 7 and 8: train a slice classifier on all cases, or reuse the one that is on disk."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clisc_nnunet.errors import UserError
from clisc_nnunet.pipeline.case_tracker import CaseTracker
from clisc_nnunet.pipeline.classifier_file import kept_fingerprint, save_classifier
from clisc_nnunet.pipeline.config import RunConfig
from clisc_nnunet.pipeline.model_steps import TrainedClassifier, sure_slices
from clisc_nnunet.pipeline.result_cache import Fingerprint, sign
from clisc_nnunet.pipeline.run_results import RunResults
from clisc_nnunet.stages import adaptive_masking, classifier_training
from clisc_nnunet.stages.classifier_training import TrainingSlices


def train_or_keep(
    config: RunConfig, tracker: CaseTracker, results: RunResults, name: str, masked_by: str | None
) -> TrainedClassifier:
    """Train a classifier on all cases, unless the one on disk was trained on the same cases.

    Stage 4; stages 7 and 8 if the slices are masked by the regions of classifier `masked_by`.
    Cases that were skipped during its training and retried later do not invalidate it.
    """
    path = config.classifier_file(name)
    kept = kept_fingerprint(path)
    never_skipped = tracker.never_skipped(f"{masked_by}_regions" if masked_by else "labels")
    fingerprint = training_fingerprint(config, tracker, never_skipped, masked_by)
    if kept != fingerprint.text:
        fingerprint = training_fingerprint(config, tracker, tracker.cases, masked_by)
    if kept == fingerprint.text:
        tracker.note(f"{name} classifier: kept")
    else:
        if kept is not None:
            changes = fingerprint.changes(kept)
            tracker.note(f"{name} classifier: trained again ({changes})")
        tracker.clear_retry_marks()
        trained = train(config, results, masked_by)
        save_classifier(path, trained, fingerprint)
    return TrainedClassifier(name, fingerprint.signature)


def load_shared_classifier(config: RunConfig, tracker: CaseTracker, name: str) -> TrainedClassifier:
    """Classifier trained on all cases, for a run on a share of them.

    Raises
    ------
    UserError
        If it is missing, or was trained with other settings or weights.
    """
    path = config.classifier_file(name)
    kept = kept_fingerprint(path)
    if kept is None:
        raise not_trained_yet(path, f"no {name} classifier", name)
    mine = training_fingerprint(config, tracker, [], "raw" if name == "enhanced" else None)
    if not mine.differs_by_inputs_alone(kept):
        raise not_trained_yet(path, f"a classifier with {mine.changes(kept)}", name)
    return TrainedClassifier(name, sign(kept))


def train(
    config: RunConfig, results: RunResults, masked_by: str | None
) -> classifier_training.SliceClassifier:
    """Train a classifier on the sure slices of all cases, masked if `masked_by` is given."""
    examples = [
        (case, int(plane), int(label))
        for case in results.cases
        for plane, label in zip(*sure_slices(results.arrays(case, "labels")), strict=True)
    ]
    masked = partial(masked_slices, results, masked_by) if masked_by else None
    keep_plain = config.settings.masking.keep_plain
    slices = TrainingSlices(examples, results.stack, masked, keep_plain=keep_plain)
    return classifier_training.train_classifier(
        config.models.backbone,
        slices,
        np.resize([label for _, _, label in examples], len(slices)),
        config.settings.classifier,
        config.settings.seed,
        torch.device(config.device),
    )


def masked_slices(results: RunResults, classifier: str, case: str) -> np.ndarray:
    """Slices of a case without the most active part of its regions, uint8 (plane, row, column)."""
    stack, found = results.stack(case), results.arrays(case, f"{classifier}_regions")
    volume = np.zeros(stack.pixels.shape, np.float32)
    volume[found["planes"]] = found["cam"] / 255.0
    region = results.region(case, classifier)
    return adaptive_masking.mask_stack(
        stack.pixels, volume, region, results.config.settings.masking
    )


def training_fingerprint(
    config: RunConfig, tracker: CaseTracker, cases: Sequence[str], masked_by: str | None
) -> Fingerprint:
    """Fingerprint of a classifier trained on these cases."""
    inputs = tracker.signatures_of("labels", cases)
    settings: list[Any] = [config.settings.classifier, config.settings.seed]
    if masked_by:
        inputs += tracker.signatures_of(f"{masked_by}_regions", cases)
        settings.append(config.settings.masking)
    return Fingerprint(sign(inputs), settings, config.models.backbone.sha256)


def not_trained_yet(path: Path, found: str, classifier: str) -> UserError:
    """Error for a partial run that starts before the shared classifier exists."""
    stage = "classifier" if classifier == "raw" else "enhanced"
    return UserError(
        path,
        found,
        "one for all cases, with the same settings and weights",
        f"run --stage {stage} first, without -num_parts",
    )
