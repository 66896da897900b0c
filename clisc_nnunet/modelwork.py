"""The work of the models on one case, in whatever process can load them: from store to store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from clisc_nnunet import classifier, slice_labels
from clisc_nnunet.drawing import Draughtsman
from clisc_nnunet.embeddings import EmbeddingCache
from clisc_nnunet.errors import ScanError
from clisc_nnunet.models.slice_classifier import SliceClassifier
from clisc_nnunet.models.trio import ModelNames, Models
from clisc_nnunet.regionwork import RegionFinder, Sample, unpack_region
from clisc_nnunet.scanwork import unpack_stack
from clisc_nnunet.settings import Settings
from clisc_nnunet.slices import SliceStack
from clisc_nnunet.store import Recipe, Store


@dataclass(frozen=True)
class Bench:
    """What a process needs to work on any case: names and paths, so that it can be sent."""

    store: Store
    settings: Settings
    names: ModelNames
    device: str

    @property
    def models(self) -> Models:
        """The models, loaded once in each process."""
        return self.names.load(self.device)

    def stack(self, case: str, signature: str) -> SliceStack:
        """Slices of a case."""
        return unpack_stack(self.store.require(case, "slices", signature))

    def classifier_file(self, name: str) -> Path:
        """Where the classifier `raw` or `enhanced` lies."""
        return self.store.root / f"classifier_{name}.safetensors"

    def finder(self, name: str, signature: str) -> RegionFinder:
        """Regions of a classifier.

        SAM starts without a memory of other cases: what it draws must not depend, not even by a
        rounding, on what its process did before.
        """
        models, settings = self.models, self.settings
        draughtsman = Draughtsman(
            models.sam, settings.prompts, settings.sam, EmbeddingCache(models.sam, settings.sam)
        )
        trained = _classifier(self, name, signature)
        return RegionFinder(trained, models, settings, draughtsman, torch.device(self.device))


def label_case(
    bench: Bench, case: str, slices: str, recipe: Recipe, given: Mapping[int, int] | None
) -> None:
    """Stages 2 and 3 for a case: CLIP's labels and the vote's, or the given ones as they are.

    Raises
    ------
    ScanError
        If labels are given for planes without brain: they are of other slices.
    """
    stack = bench.stack(case, slices)
    planes, settings = stack.planes_with_brain, bench.settings.labels
    if given is not None:
        strange = sorted(given.keys() - set(planes.tolist()))
        if strange:
            raise ScanError(
                f"--slice-labels of {case}",
                f"plane {strange[0]}",
                f"planes with brain, {planes[0]} to {planes[-1]}",
                "give a table of the same scan and slice settings",
            )
        sure = np.array([given.get(int(plane), slice_labels.UNSURE) for plane in planes])
        probability = np.where(sure == slice_labels.UNSURE, 0.5, sure).astype(np.float32)
        voted = sure
    else:
        prompts = slice_labels.read_prompts(settings.prompts)
        clip = bench.models.clip
        classes = slice_labels.class_embeddings(clip, prompts)
        probability = slice_labels.tumour_probability(
            clip, classes, stack.pixels[planes], precision=settings.precision
        )
        sure = slice_labels.sure_labels(probability, settings)
        voted = slice_labels.vote(sure, planes, settings)
    arrays = {"planes": planes, "probability": probability, "label": sure, "voted": voted}
    bench.store.save(case, "labels", recipe, arrays)


def try_case(
    bench: Bench,
    name: str,
    case: str,
    slices: str,
    trained: str,
    recipe: Recipe,
    planes: np.ndarray,
    layers: Sequence[str],
    thresholds: Sequence[float],
) -> None:
    """SAM's answer to every layer and threshold of the CAM on some planes of a case."""
    sample = Sample(case, bench.stack(case, slices), planes)
    ious, agreements = bench.finder(name, trained).answers(sample, layers, thresholds)
    arrays = {"predicted_iou": ious, "agreement": agreements}
    bench.store.save(case, f"{name}_trials", recipe, arrays)


def find_case_regions(
    bench: Bench,
    name: str,
    case: str,
    slices: str,
    trained: str,
    recipe: Recipe,
    layer: str,
    threshold: float,
) -> None:
    """Stages 5 and 6 for a case."""
    found = bench.finder(name, trained).find(bench.stack(case, slices), layer, threshold)
    bench.store.save(case, f"{name}_regions", recipe, found)


def segment_case(
    bench: Bench, name: str, case: str, slices: str, trained: str, regions: str, recipe: Recipe
) -> None:
    """Stages 9 and 10 for a case."""
    stack = bench.stack(case, slices)
    packed = bench.store.require(case, f"{name}_regions", regions)["roi"]
    region = unpack_region(packed, stack.pixels.shape)
    drawn = bench.finder(name, trained).draw(case, stack, region)
    bench.store.save(case, "masks", recipe, drawn)


@lru_cache(2)
def _classifier(bench: Bench, name: str, signature: str) -> SliceClassifier:
    path = bench.classifier_file(name)
    trained = classifier.load_classifier(path, bench.models.backbone, signature)
    if trained is None:
        raise RuntimeError(f"{path} is gone or was changed during the run")
    return trained.to(bench.device).eval()
