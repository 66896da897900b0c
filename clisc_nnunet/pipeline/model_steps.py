"""Stages 5, 6, 9 and 10 on the slices of a case: from a classifier to regions and SAM's masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from clisc_nnunet.errors import ScanError
from clisc_nnunet.metrics import agreement
from clisc_nnunet.models.model_set import ModelNames, Models
from clisc_nnunet.models.slice_classifier import SliceClassifier
from clisc_nnunet.pipeline.result_cache import Fingerprint, ResultCache
from clisc_nnunet.pipeline.serialization import unpack_region, unpack_stack
from clisc_nnunet.settings import Settings
from clisc_nnunet.stages import classifier_training, clip_labels, layer_cam, roi
from clisc_nnunet.stages.cam_selection import Sample, Trial, candidates, gather
from clisc_nnunet.stages.sam.embedding_cache import EmbeddingCache
from clisc_nnunet.stages.sam.volume_segmenter import (
    VolumeSegmenter,
    mean_predicted_iou,
    whole_brain_retry,
)
from clisc_nnunet.stages.slice_extraction import SliceStack


@dataclass(frozen=True)
class RegionFinder:
    """Regions of one trained classifier, and what SAM makes of them."""

    classifier: SliceClassifier
    models: Models
    settings: Settings
    segmenter: VolumeSegmenter
    device: torch.device

    def candidates(self) -> tuple[list[str], list[float]]:
        """Layers and thresholds to choose from: one each where they are set."""
        return candidates(self.settings, self.models.backbone.layers)

    def find(self, stack: SliceStack, layer: str, threshold: float) -> dict[str, np.ndarray]:
        """Stages 5 and 6 for a case, as arrays for the store.

        Returns
        -------
        dict
            `planes` that the classifier calls tumour, int (n,); its `probability` for all planes
            with brain, float32 (m,); `cam` of the tumour planes, uint8 (n, row, column), 255 is 1;
            `roi`, bool (plane, row, column) as packed bits.
        """
        volume, planes, probability = self._cam(stack, layer)
        # Kept as 8 bit; the region is that of the kept CAM, so that both can be compared.
        kept = np.rint(255 * volume).astype(np.uint8)
        region = self._region(kept.astype(np.float32) / 255, stack, threshold)
        return {
            "planes": planes,
            "probability": probability,
            "cam": kept[planes],
            "roi": np.packbits(region),
        }

    def draw(self, case: str, stack: SliceStack, region: np.ndarray) -> dict[str, np.ndarray]:
        """Stages 9 and 10 for a case, as arrays for the store.

        Parameters
        ----------
        case : str
            Under which SAM's embeddings are remembered.
        stack : SliceStack
        region : bool ndarray of shape (plane, row, column)

        Returns
        -------
        dict
            `planes` with a mask, int (n,); their `logits`, float16 (n, row, column);
            `predicted_iou` of the axial masks and `agreement` with the region, float (n,);
            `second_opinion`, bool (): whether they are SAM's answer to the whole brain.
        """
        drawn, second = self.segmenter.segment(case, stack, region), None
        # A case that gets no label by its first answer gets none by a second one.
        enough, sure = self.settings.pseudo_label.min_case_iou, self.settings.sam.second_opinion
        if enough <= mean_predicted_iou(drawn) < sure:
            second = whole_brain_retry(self.segmenter, case, stack, region, drawn)
        drawn = second or drawn
        logits = drawn.logits[drawn.planes]
        return {
            "planes": drawn.planes,
            "logits": logits.astype(np.float16),
            "predicted_iou": drawn.predicted_iou,
            "agreement": agreement(logits > 0, region[drawn.planes]),
            "second_opinion": np.array(second is not None),
        }

    def trials(
        self, samples: Sequence[Sample], layers: Sequence[str], thresholds: Sequence[float]
    ) -> list[Trial]:
        """SAM's answer to every layer and threshold on the samples."""
        answers = [self.answers(sample, layers, thresholds) for sample in samples]
        return gather(layers, thresholds, answers)

    def answers(
        self, sample: Sample, layers: Sequence[str], thresholds: Sequence[float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """SAM's answer to every layer and threshold on the planes of one case.

        Returns
        -------
        predicted_iou, agreement : float64 ndarray of shape (layer, threshold, plane)
            0 where a plane's region is empty, or the highest threshold would win.
        """
        shape = (len(layers), len(thresholds), len(sample.planes))
        ious, agreements = np.zeros(shape), np.zeros(shape)
        for i, layer in enumerate(layers):
            volume, _, _ = self._cam(sample.stack, layer)
            for j, threshold in enumerate(thresholds):
                region = self._region(volume, sample.stack, threshold)
                shown = region[sample.planes].any(axis=(1, 2))
                drawn = sample.planes[shown]
                masks = self.segmenter.axial(sample.case, sample.stack, drawn, region)
                ious[i, j, shown] = masks.predicted_iou
                agreements[i, j, shown] = agreement(masks.logits > 0, region[drawn])
        return ious, agreements

    def _cam(self, stack: SliceStack, layer: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """CAM volume (plane, row, column) in 0..1, tumour planes, probability of brain planes."""
        planes = stack.planes_with_brain
        found, probability = layer_cam.layer_cam(
            self.classifier, stack.pixels[planes], layer, self.device
        )
        volume = np.zeros(stack.pixels.shape, np.float32)
        volume[planes] = found
        return volume, planes[probability > 0.5], probability

    def _region(self, volume: np.ndarray, stack: SliceStack, threshold: float) -> np.ndarray:
        plane_mm = stack.geometry.spacing[2]
        return roi.region_of_interest(volume, stack.brain, threshold, self.settings.roi, plane_mm)


@dataclass(frozen=True)
class Bench:
    """What a process needs to work on any case: names and paths, so that it can be sent."""

    cache: ResultCache
    settings: Settings
    names: ModelNames
    device: str

    @property
    def models(self) -> Models:
        """The models, loaded once in each process."""
        return self.names.load(self.device)

    def stack(self, case: str, signature: str) -> SliceStack:
        """Slices of a case."""
        return unpack_stack(self.cache.require(case, "slices", signature))

    def classifier_file(self, name: str) -> Path:
        """Where the classifier `raw` or `enhanced` lies."""
        return self.cache.root / f"classifier_{name}.safetensors"

    def finder(self, name: str, signature: str) -> RegionFinder:
        """Regions of a classifier.

        SAM starts without a memory of other cases: what it draws must not depend, not even by a
        rounding, on what its process did before.
        """
        models, settings = self.models, self.settings
        segmenter = VolumeSegmenter(
            models.sam, settings.prompts, settings.sam, EmbeddingCache(models.sam, settings.sam)
        )
        trained = _classifier(self, name, signature)
        return RegionFinder(trained, models, settings, segmenter, torch.device(self.device))


def label_case(
    bench: Bench, case: str, slices: str, fingerprint: Fingerprint, given: Mapping[int, int] | None
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
        sure = np.array([given.get(int(plane), clip_labels.UNSURE) for plane in planes])
        probability = np.where(sure == clip_labels.UNSURE, 0.5, sure).astype(np.float32)
        voted = sure
    else:
        prompts = clip_labels.read_text_prompts(settings.prompts)
        clip = bench.models.clip
        classes = clip_labels.class_embeddings(clip, prompts)
        probability = clip_labels.tumour_probability(
            clip, classes, stack.pixels[planes], precision=settings.precision
        )
        sure = clip_labels.sure_labels(probability, settings)
        voted = clip_labels.vote(sure, planes, settings)
    arrays = {"planes": planes, "probability": probability, "label": sure, "voted": voted}
    bench.cache.save(case, "labels", fingerprint, arrays)


def try_case(
    bench: Bench,
    name: str,
    case: str,
    slices: str,
    trained: str,
    fingerprint: Fingerprint,
    planes: np.ndarray,
    layers: Sequence[str],
    thresholds: Sequence[float],
) -> None:
    """SAM's answer to every layer and threshold of the CAM on some planes of a case."""
    sample = Sample(case, bench.stack(case, slices), planes)
    ious, agreements = bench.finder(name, trained).answers(sample, layers, thresholds)
    arrays = {"predicted_iou": ious, "agreement": agreements}
    bench.cache.save(case, f"{name}_trials", fingerprint, arrays)


def find_case_regions(
    bench: Bench,
    name: str,
    case: str,
    slices: str,
    trained: str,
    fingerprint: Fingerprint,
    layer: str,
    threshold: float,
) -> None:
    """Stages 5 and 6 for a case."""
    found = bench.finder(name, trained).find(bench.stack(case, slices), layer, threshold)
    bench.cache.save(case, f"{name}_regions", fingerprint, found)


def segment_case(
    bench: Bench,
    name: str,
    case: str,
    slices: str,
    trained: str,
    regions: str,
    fingerprint: Fingerprint,
) -> None:
    """Stages 9 and 10 for a case."""
    stack = bench.stack(case, slices)
    packed = bench.cache.require(case, f"{name}_regions", regions)["roi"]
    region = unpack_region(packed, stack.pixels.shape)
    drawn = bench.finder(name, trained).draw(case, stack, region)
    bench.cache.save(case, "masks", fingerprint, drawn)


@lru_cache(2)
def _classifier(bench: Bench, name: str, signature: str) -> SliceClassifier:
    path = bench.classifier_file(name)
    trained = classifier_training.load_classifier(path, bench.models.backbone, signature)
    if trained is None:
        raise RuntimeError(f"{path} is gone or was changed during the run")
    return trained.to(bench.device).eval()
