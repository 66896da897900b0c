"""Selection of the CAM's layer and threshold: trials on a sample of cases, choice, and its file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from clisc_nnunet.errors import NoTumourError
from clisc_nnunet.io.atomic_write import write_text
from clisc_nnunet.metrics import dice
from clisc_nnunet.pipeline.config import CaseInput, RunConfig
from clisc_nnunet.pipeline.model_steps import (
    CamChoice,
    TrainedClassifier,
    cam_volume,
    load_trained,
    new_segmenter,
    region_of,
    sure_slices,
)
from clisc_nnunet.pipeline.result_cache import Fingerprint, sign
from clisc_nnunet.pipeline.run_results import RunResults
from clisc_nnunet.pipeline.run_step import CaseStep
from clisc_nnunet.pipeline.serialization import unpack_stack
from clisc_nnunet.stages.cam_selection import Trial, best, gather, spread
from clisc_nnunet.stages.slice_classes import TUMOUR

# Number of cases on which the CAM's layer and threshold are selected.
SAMPLE_CASES = 8
# Slices of a case on which the CAM's layer and threshold are selected.
SAMPLE_SLICES = 10

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class CamGrid:
    """Candidate layers and thresholds."""

    layers: tuple[str, ...]
    thresholds: tuple[float, ...]


def trial_step(classifier: TrainedClassifier, grid: CamGrid) -> CaseStep:
    """Step that prompts SAM with the region of every candidate on some slices of a case."""
    return CaseStep(
        f"{classifier.name}_trials",
        f"{classifier.name} choice",
        partial(try_cams, classifier=classifier, grid=grid),
        partial(_trial_fingerprint, classifier=classifier, grid=grid),
        ("slices", "labels"),
    )


def try_cams(
    config: RunConfig,
    case: CaseInput,
    slices: Arrays,
    labels: Arrays,
    *,
    classifier: TrainedClassifier,
    grid: CamGrid,
) -> dict[str, np.ndarray]:
    """SAM's masks for the region of every layer and threshold, on a sample of tumour slices.

    Returns
    -------
    dict
        `predicted_iou` by SAM and `agreement` (Dice) of its masks with the regions, both float64
        (layer, threshold, plane); 0 if the region is empty in a plane, as the highest threshold
        would win otherwise.
    """
    stack, planes = unpack_stack(slices), sample_planes(labels)
    network, segmenter = load_trained(config, classifier), new_segmenter(config)
    shape = (len(grid.layers), len(grid.thresholds), len(planes))
    ious, agreements = np.zeros(shape), np.zeros(shape)
    for i, layer in enumerate(grid.layers):
        volume, _, _ = cam_volume(network, stack, layer, config.device)
        for j, threshold in enumerate(grid.thresholds):
            region = region_of(volume, stack, threshold, config.settings)
            shown = region[planes].any(axis=(1, 2))
            prompted = planes[shown]
            masks = segmenter.axial(case.name, stack, prompted, region)
            ious[i, j, shown] = masks.predicted_iou
            agreements[i, j, shown] = dice(
                masks.logits > 0, region[prompted], both_empty=0.0, axis=(1, 2)
            )
    return {"predicted_iou": ious, "agreement": agreements}


def sample_planes(labels: Arrays) -> np.ndarray:
    """Planes of a case on which candidates are compared, int (n,)."""
    planes, label = sure_slices(labels)
    return spread(planes[label == TUMOUR], SAMPLE_SLICES)


def _trial_fingerprint(
    config: RunConfig,
    case: CaseInput,
    signatures: tuple[str, ...],
    *,
    classifier: TrainedClassifier,
    grid: CamGrid,
) -> Fingerprint:
    slices, labels = signatures
    planes = sample_planes(config.cache.require(case.name, "labels", labels)).tolist()
    s = config.settings
    return Fingerprint(
        [classifier.signature, slices, planes],
        [grid.layers, grid.thresholds, s.roi, s.prompts, s.sam.axial_only()],
        config.models.sam.identity,
    )


def sample_cases(results: RunResults, cases: Sequence[str]) -> list[str]:
    """Cases for the selection: an even sample of those with tumour slices, sorted by name."""
    shown = [
        case for case in cases if (sure_slices(results.arrays(case, "labels"))[1] == TUMOUR).any()
    ]
    return spread(np.array(shown), SAMPLE_CASES).tolist()


def choose(
    results: RunResults, sample: Sequence[str], classifier: str, grid: CamGrid
) -> tuple[Trial, list[Trial]]:
    """Layer and threshold with the highest agreement with SAM, and all trials.

    Raises
    ------
    NoTumourError
        If the sample is empty.
    """
    if not sample:
        raise NoTumourError(
            "the slice labels",
            "no usable case with a tumour",
            "at least one",
            "see why cases were skipped, then use --retry-failed",
        )
    answers = [results.arrays(case, f"{classifier}_trials") for case in sample]
    pairs = [(answer["predicted_iou"], answer["agreement"]) for answer in answers]
    trials = gather(grid.layers, grid.thresholds, pairs)
    chosen = best(trials)
    tqdm.write(
        f"{classifier} CAM: layer {chosen.layer}, threshold {chosen.threshold:g} "
        f"(agreement with SAM {chosen.agreement:.2f}, predicted IoU {chosen.predicted_iou:.2f})"
    )
    return chosen, trials


def choice_signature(config: RunConfig, classifier: TrainedClassifier) -> str:
    """Signature of everything the selection depends on."""
    return sign(classifier.signature, [config.settings.cam, config.settings.roi])


def write_choice(path: Path, signature: str, chosen: Trial) -> None:
    """Save layer and threshold for runs on a part of the cases."""
    content = {"signature": signature, "layer": chosen.layer, "threshold": chosen.threshold}
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_choice(path: Path, signature: str) -> CamChoice | None:
    """Saved layer and threshold; None without a file with this signature."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        same = content["signature"] == signature
        return CamChoice(content["layer"], content["threshold"]) if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
