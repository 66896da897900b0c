"""Model inference for one case, stages 2, 3, 5, 6, 9 and 10: CLIP, the classifier's CAM, SAM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch

from clisc_nnunet.errors import ScanError
from clisc_nnunet.metrics import dice
from clisc_nnunet.models.slice_classifier import SliceClassifier
from clisc_nnunet.pipeline.classifier_file import load_classifier
from clisc_nnunet.pipeline.config import CaseInput, RunConfig
from clisc_nnunet.pipeline.result_cache import Fingerprint, sign
from clisc_nnunet.pipeline.run_step import CaseStep
from clisc_nnunet.pipeline.serialization import pack_region, unpack_region, unpack_stack
from clisc_nnunet.settings import Settings
from clisc_nnunet.stages import clip_labels, layer_cam, roi
from clisc_nnunet.stages.sam.embedding_cache import EmbeddingCache
from clisc_nnunet.stages.sam.volume_segmenter import (
    VolumeSegmenter,
    mean_predicted_iou,
    whole_brain_retry,
)
from clisc_nnunet.stages.slice_classes import UNSURE
from clisc_nnunet.stages.slice_extraction import SliceStack

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class TrainedClassifier:
    """A slice classifier of this run: `raw` or `enhanced`, and the signature of its weights."""

    name: str
    signature: str


@dataclass(frozen=True)
class CamChoice:
    """Layer of the CAM, and threshold of its region."""

    layer: str
    threshold: float


# Stages 2 and 3


def label_slices(config: RunConfig, case: CaseInput, slices: Arrays) -> dict[str, np.ndarray]:
    """CLIP's labels of the slices before and after the vote, or the given labels unchanged.

    Returns
    -------
    dict
        `planes` with brain, int (n,); `probability` of a tumour, float32 (n,); `label` by CLIP and
        `voted`, int (n,).

    Raises
    ------
    ScanError
        If labels are given for planes without brain, i.e. for other slices.
    """
    stack = unpack_stack(slices)
    planes, settings = stack.planes_with_brain, config.settings.labels
    if case.slice_labels is not None:
        label = _given_labels(case.name, case.slice_labels, planes)
        probability = np.where(label == UNSURE, 0.5, label).astype(np.float32)
        voted = label
    else:
        prompts = clip_labels.read_text_prompts(settings.prompts)
        clip = config.models.clip
        classes = clip_labels.class_embeddings(clip, prompts)
        probability = clip_labels.tumour_probability(
            clip, classes, stack.pixels[planes], precision=settings.precision
        )
        label = clip_labels.sure_labels(probability, settings)
        voted = clip_labels.vote(label, planes, settings)
    return {"planes": planes, "probability": probability, "label": label, "voted": voted}


def sure_slices(labels: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Planes with a sure label after the vote, and these labels, both int (n,)."""
    sure = labels["voted"] != UNSURE
    return labels["planes"][sure], labels["voted"][sure]


def _given_labels(case: str, given: Mapping[int, int], planes: np.ndarray) -> np.ndarray:
    strange = sorted(given.keys() - set(planes.tolist()))
    if strange:
        raise ScanError(
            f"--slice-labels of {case}",
            f"plane {strange[0]}",
            f"planes with brain, {planes[0]} to {planes[-1]}",
            "use a table of the same scan and slice settings",
        )
    return np.array([given.get(int(plane), UNSURE) for plane in planes])


def _labels_fingerprint(
    config: RunConfig, case: CaseInput, signatures: tuple[str, ...]
) -> Fingerprint:
    (slices,) = signatures
    if case.slice_labels is not None:
        return Fingerprint([slices, sign(sorted(case.slice_labels.items()))], "given labels")
    settings = config.settings.labels
    prompts = clip_labels.read_text_prompts(settings.prompts)
    return Fingerprint(slices, [settings, prompts], config.models.clip.identity)


LABEL_SLICES = CaseStep("labels", "slice labels", label_slices, _labels_fingerprint, ("slices",))


# Stages 5 and 6


def cam_step(classifier: TrainedClassifier, chosen: CamChoice) -> CaseStep:
    """Step of stages 5 and 6 with a trained classifier."""
    return CaseStep(
        f"{classifier.name}_regions",
        f"{classifier.name} CAM",
        partial(find_region, classifier=classifier, chosen=chosen),
        partial(_cam_fingerprint, classifier=classifier, chosen=chosen),
        ("slices",),
    )


def find_region(
    config: RunConfig,
    case: CaseInput,
    slices: Arrays,
    *,
    classifier: TrainedClassifier,
    chosen: CamChoice,
) -> dict[str, np.ndarray]:
    """CAM of the slices classified as tumour, and the region of interest.

    Returns
    -------
    dict
        `planes` classified as tumour, int (n,); `probability` of a tumour for all planes with
        brain, float32 (m,); `cam` of the tumour planes, uint8 (n, row, column), 255 is 1; `roi`,
        bool (plane, row, column) as packed bits.
    """
    stack = unpack_stack(slices)
    network = load_trained(config, classifier)
    volume, planes, probability = cam_volume(network, stack, chosen.layer, config.device)
    # Stored as 8 bit; the region is computed from the stored CAM, so that both are consistent.
    kept = np.rint(255 * volume).astype(np.uint8)
    region = region_of(kept.astype(np.float32) / 255, stack, chosen.threshold, config.settings)
    return {
        "planes": planes,
        "probability": probability,
        "cam": kept[planes],
        "roi": pack_region(region),
    }


def cam_volume(
    classifier: SliceClassifier, stack: SliceStack, layer: str, device: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CAM of a case.

    Returns
    -------
    volume : float32 ndarray of shape (plane, row, column)
        0..1; 0 in planes not classified as tumour.
    planes : int ndarray of shape (n,)
        Planes classified as tumour.
    probability : float32 ndarray of shape (m,)
        Probability of a tumour, for all planes with brain.
    """
    planes = stack.planes_with_brain
    found, probability = layer_cam.layer_cam(
        classifier, stack.pixels[planes], layer, torch.device(device)
    )
    volume = np.zeros(stack.pixels.shape, np.float32)
    volume[planes] = found
    return volume, planes[probability > 0.5], probability


def region_of(
    volume: np.ndarray, stack: SliceStack, threshold: float, settings: Settings
) -> np.ndarray:
    """Region of interest of a CAM volume, bool (plane, row, column)."""
    plane_mm = stack.geometry.spacing[2]
    return roi.region_of_interest(volume, stack.brain, threshold, settings.roi, plane_mm)


def _cam_fingerprint(
    config: RunConfig,
    case: CaseInput,
    signatures: tuple[str, ...],
    *,
    classifier: TrainedClassifier,
    chosen: CamChoice,
) -> Fingerprint:
    settings = [chosen.layer, chosen.threshold, config.settings.roi]
    return Fingerprint([classifier.signature, *signatures], settings)


# Stages 9 and 10


def segment_step(classifier: str) -> CaseStep:
    """Step of stages 9 and 10, prompted by the regions of classifier `raw` or `enhanced`."""
    return CaseStep(
        "masks", "SAM", segment, _masks_fingerprint, ("slices", f"{classifier}_regions")
    )


def segment(
    config: RunConfig, case: CaseInput, slices: Arrays, regions: Arrays
) -> dict[str, np.ndarray]:
    """SAM's masks of a case, prompted by its region.

    Returns
    -------
    dict
        `planes` with a mask, int (n,); their `logits`, float16 (n, row, column); `predicted_iou`
        of the axial masks and `agreement` (Dice) with the region, float (n,); `second_opinion`,
        bool (): whether SAM was prompted by the whole brain instead.
    """
    stack = unpack_stack(slices)
    region = unpack_region(regions["roi"], stack.pixels.shape)
    segmenter = new_segmenter(config)
    masks, second = segmenter.segment(case.name, stack, region), None
    # Cases below the threshold for a label are not retried.
    enough, sure = config.settings.pseudo_label.min_case_iou, config.settings.sam.second_opinion
    if enough <= mean_predicted_iou(masks) < sure:
        second = whole_brain_retry(segmenter, case.name, stack, region, masks)
    masks = second or masks
    logits = masks.logits[masks.planes]
    return {
        "planes": masks.planes,
        "logits": logits.astype(np.float16),
        "predicted_iou": masks.predicted_iou,
        "agreement": dice(logits > 0, region[masks.planes], both_empty=0.0, axis=(1, 2)),
        "second_opinion": np.array(second is not None),
    }


def _masks_fingerprint(
    config: RunConfig, case: CaseInput, signatures: tuple[str, ...]
) -> Fingerprint:
    _, regions = signatures
    settings = config.settings
    asked = [settings.prompts, settings.sam, settings.pseudo_label.min_case_iou]
    return Fingerprint(regions, asked, config.models.sam.identity)


def new_segmenter(config: RunConfig) -> VolumeSegmenter:
    """Segmenter with an empty embedding cache.

    Its masks must not depend on the cases processed before, not even by rounding.
    """
    sam, settings = config.models.sam, config.settings
    return VolumeSegmenter(sam, settings.prompts, settings.sam, EmbeddingCache(sam, settings.sam))


def load_trained(config: RunConfig, classifier: TrainedClassifier) -> SliceClassifier:
    """A classifier of this run in evaluation mode; loaded once per process."""
    return _load_trained(config, classifier)


@lru_cache(2)
def _load_trained(config: RunConfig, classifier: TrainedClassifier) -> SliceClassifier:
    path = config.classifier_file(classifier.name)
    trained = load_classifier(path, config.models.backbone, classifier.signature)
    if trained is None:
        raise RuntimeError(f"{path} was removed or changed during the run")
    return trained.to(config.device).eval()
