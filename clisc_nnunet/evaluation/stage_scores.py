"""Score every pipeline stage of a finished conversion against references."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from clisc_nnunet.dataset_layout import DatasetLayout
from clisc_nnunet.errors import UserError
from clisc_nnunet.io.volume import Geometry, read_geometry, read_mask, resample
from clisc_nnunet.metrics import dice, precision, sensitivity
from clisc_nnunet.pipeline.serialization import unpack_region, unpack_stack
from clisc_nnunet.settings import from_json
from clisc_nnunet.stages.slice_classes import TUMOUR, UNSURE
from clisc_nnunet.stages.slice_extraction import SliceStack, to_scan_grid

CLASSIFIERS = ("raw", "enhanced")
# Smallest tumour area of a plane that counts as tumour: 24 pixels of 1.5 mm, a disc of 8 mm.
# Planes with a smaller, non-zero area are ambiguous and excluded.
CLEAR_MM2 = 54.0


@dataclass(frozen=True)
class SliceCalls:
    """Classification of the unambiguous planes of a case by each stage; arrays of shape (n,).

    Parameters
    ----------
    truth : bool ndarray
        Tumour in the reference.
    clip : float32 ndarray
        Tumour probability by CLIP.
    sure, voted : int ndarray
        Label before and after the vote: `TUMOUR`, `NORMAL` or `UNSURE`.
    classifiers : dict of name to float32 ndarray
        Tumour probability by each classifier.
    drawn : bool ndarray
        Planes that the pseudo-label covers.
    """

    truth: np.ndarray
    clip: np.ndarray
    sure: np.ndarray
    voted: np.ndarray
    classifiers: dict[str, np.ndarray]
    drawn: np.ndarray


@dataclass(frozen=True)
class CaseStageScores:
    """Scores of one case on the scan's grid; NaN where undefined.

    Parameters
    ----------
    dice : dict of stage to float
        Of the ROI of each classifier, and of the pseudo-label.
    precision, sensitivity : float
        Of the pseudo-label.
    truth_ml, label_ml : float
        Volume of reference and pseudo-label.
    """

    case: str
    dice: dict[str, float]
    precision: float
    sensitivity: float
    truth_ml: float
    label_ml: float
    slices: SliceCalls


def score_case(dataset: Path, case: str, reference: Path | None) -> CaseStageScores:
    """Score the stored stages of a case.

    Parameters
    ----------
    dataset : Path
        Folder written by `clisc_make_pseudo_dataset`.
    case : str
        A case that did not fail.
    reference : Path, optional
        Mask (voxels above 0) on the scan's grid. None: the scan shows no tumour.

    Raises
    ------
    ScanError
        If the reference cannot be read, or its grid differs from the scan's.
    """
    layout = DatasetLayout(dataset)
    stages = layout.stages / case
    stack = unpack_stack(load_arrays(stages / "slices.npz"))
    scan = read_geometry(layout.roi(case))
    truth = np.zeros(scan.shape, bool) if reference is None else read_mask(reference, scan)
    # A case without a label is not part of the dataset; it counts as background.
    label_file = layout.label(case)
    drawn = read_mask(label_file, scan) if label_file.exists() else np.zeros(scan.shape, bool)

    regions = {
        name: load_arrays(path)
        for name in classifiers(dataset)
        if (path := stages / f"{name}_regions.npz").exists()
    }
    scores = {
        f"{name} ROI": dice(region_on_scan(r, stack, scan), truth) for name, r in regions.items()
    }
    scores["pseudo-label"] = dice(drawn, truth)

    labels = load_arrays(stages / "labels.npz")
    planes = labels["planes"]
    area = area_mm2(truth, scan, stack)[planes]
    clear = (area == 0) | (area >= CLEAR_MM2)
    calls = SliceCalls(
        truth=(area > 0)[clear],
        clip=labels["probability"][clear],
        sure=labels["label"][clear],
        voted=labels["voted"][clear],
        classifiers={name: r["probability"][clear] for name, r in regions.items()},
        drawn=(area_mm2(drawn, scan, stack)[planes] > 0)[clear],
    )
    return CaseStageScores(
        case=case,
        dice=scores,
        precision=precision(drawn, truth),
        sensitivity=sensitivity(drawn, truth),
        truth_ml=float(truth.sum()) * scan.voxel_ml,
        label_ml=float(drawn.sum()) * scan.voxel_ml,
        slices=calls,
    )


def classifiers(dataset: Path) -> tuple[str, ...]:
    """Classifiers of a conversion: without masking only `raw`, even if earlier runs left both.

    Raises
    ------
    UserError
        If the stored settings cannot be read.
    """
    path = DatasetLayout(dataset).settings_json
    if not path.exists():
        return CLASSIFIERS
    masked = from_json(path.read_text(encoding="utf-8"), str(path)).masking.mode != "off"
    return CLASSIFIERS if masked else CLASSIFIERS[:1]


def tumour_shares(calls: SliceCalls) -> dict[str, float]:
    """Share of planes that each stage classifies as tumour, and the share of `unsure` planes."""
    shares = {
        "CLIP": calls.clip > 0.5,
        "sure": calls.sure == TUMOUR,
        "voted": calls.voted == TUMOUR,
        "unsure": calls.voted == UNSURE,
        **{f"{name} classifier": p > 0.5 for name, p in calls.classifiers.items()},
        "pseudo-label": calls.drawn,
    }
    return {name: float(called.mean()) for name, called in shares.items()}


def area_mm2(mask: np.ndarray, scan: Geometry, stack: SliceStack) -> np.ndarray:
    """Area in mm2 of a mask on the scan's grid in each plane of the slices, float (plane,)."""
    inside = resample(mask.astype(np.float32), scan, stack.geometry) > 0.5
    return inside.sum(axis=(1, 2)) * float(np.prod(stack.geometry.spacing[:2]))


def region_on_scan(arrays: dict[str, np.ndarray], stack: SliceStack, scan: Geometry) -> np.ndarray:
    """Stored ROI of a classifier on the scan's grid, bool (plane, row, column)."""
    region = unpack_region(arrays["roi"], stack.pixels.shape).astype(np.uint8)
    return to_scan_grid(region, stack, scan, outside=0.0) > 0.5


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Load the stored arrays of a stage, without checking their fingerprint.

    Raises
    ------
    UserError
        If the file is missing or damaged.
    """
    if not path.is_file():
        raise UserError(path, "no such file", "a stored stage of the conversion", "convert again")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error):
        expected = "a stored stage of the conversion"
        raise UserError(path, "a damaged file", expected, "rerun with --continue") from None
