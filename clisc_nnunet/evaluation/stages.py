"""Score every stage of a finished conversion against references."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clisc_nnunet.evaluation.scores import dice, precision, sensitivity
from clisc_nnunet.scanwork import unpack_stack
from clisc_nnunet.slice_labels import TUMOUR, UNSURE
from clisc_nnunet.slices import SliceStack, to_scan_grid
from clisc_nnunet.volume import Geometry, read_geometry, read_mask, resample

# A plane shows a tumour from this area on; with less, but some, it is left out as unclear.
CLEAR_MM2 = 54.0


@dataclass(frozen=True)
class CaseStages:
    """Scores of one case; NaN where there is nothing to compare.

    The arrays, of shape (n,), are of the case's clear planes: truth (bool), CLIP's probability,
    the label after the vote (1, 0 or -1 for unsure), and the probability of each classifier.
    """

    case: str
    dice: dict[str, float]
    precision: float
    sensitivity: float
    truth: np.ndarray
    clip_probability: np.ndarray
    voted: np.ndarray
    classifier_probability: dict[str, np.ndarray]


def score_case(dataset: Path, case: str, reference: Path | None) -> CaseStages:
    """Score what the conversion kept of a case.

    Parameters
    ----------
    dataset : Path
        Folder that `clisc_make_pseudo_dataset` wrote.
    case : str
    reference : Path, optional
        Mask (voxels above 0) on the scan's grid. None: there is no tumour in this scan.
    """
    stages = dataset / "clisc" / "stages" / case
    stack = unpack_stack(_load(stages / "slices.npz"))
    scan = read_geometry(dataset / "clisc" / "roi" / f"{case}.nii.gz")
    truth = np.zeros(scan.shape, bool) if reference is None else read_mask(reference, scan)
    label_file = dataset / "labelsTr" / f"{case}.nii.gz"
    drawn = read_mask(label_file, scan) if label_file.exists() else np.zeros(scan.shape, bool)

    regions = {
        path.stem.removesuffix("_regions"): _load(path) for path in stages.glob("*_regions.npz")
    }
    scores = {f"{name} ROI": dice(_region(r, stack, scan), truth) for name, r in regions.items()}
    scores["pseudo-label"] = dice(drawn, truth)

    labels = _load(stages / "labels.npz")
    planes = labels["planes"]
    on_planes = resample(truth.astype(np.float32), scan, stack.geometry)[planes] > 0.5
    area = on_planes.sum(axis=(1, 2)) * np.prod(stack.geometry.spacing[:2])
    clear = (area == 0) | (area >= CLEAR_MM2)
    return CaseStages(
        case,
        scores,
        precision(drawn, truth),
        sensitivity(drawn, truth),
        (area > 0)[clear],
        labels["probability"][clear],
        labels["voted"][clear],
        {name: r["probability"][clear] for name, r in regions.items()},
    )


def tumour_share(case: CaseStages) -> dict[str, float]:
    """Share of the clear planes that each stage calls tumour; unsure ones are not called so."""
    shares = {"clip": float((case.clip_probability > 0.5).mean())}
    shares["vote"] = float((case.voted == TUMOUR).mean())
    shares["unsure"] = float((case.voted == UNSURE).mean())
    for name, probability in case.classifier_probability.items():
        shares[f"{name} classifier"] = float((probability > 0.5).mean())
    return shares


def _region(arrays: dict[str, np.ndarray], stack: SliceStack, scan: Geometry) -> np.ndarray:
    shape = stack.pixels.shape
    region = np.unpackbits(arrays["roi"], count=int(np.prod(shape))).reshape(shape)
    return to_scan_grid(region, stack, scan, outside=0.0) > 0.5


def _load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}
