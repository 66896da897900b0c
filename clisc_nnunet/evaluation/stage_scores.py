"""Score every stage of a finished conversion against references."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from clisc_nnunet.errors import UserError
from clisc_nnunet.io.volume import Geometry, read_geometry, read_mask, resample
from clisc_nnunet.metrics import dice, precision, sensitivity
from clisc_nnunet.pipeline.serialization import unpack_stack
from clisc_nnunet.settings import from_json
from clisc_nnunet.stages.slice_classes import TUMOUR, UNSURE
from clisc_nnunet.stages.slice_extraction import SliceStack, to_scan_grid

CLASSIFIERS = ("raw", "enhanced")
# A plane shows a tumour from this area on: 24 pixels of 1.5 mm, a disc of 8 mm. With less, but
# some, it is left out as unclear.
CLEAR_MM2 = 54.0


@dataclass(frozen=True)
class SliceCalls:
    """What each stage says about the clear planes of a case: arrays of shape (n,).

    Parameters
    ----------
    truth : bool ndarray
        Tumour in the reference.
    clip : float32 ndarray
        CLIP's probability of tumour.
    sure, voted : int ndarray
        Label before and after the vote: `TUMOUR`, `NORMAL` or `UNSURE`.
    classifiers : dict of name to float32 ndarray
        Probability of tumour by each classifier.
    drawn : bool ndarray
        The pseudo-label reaches this plane.
    """

    truth: np.ndarray
    clip: np.ndarray
    sure: np.ndarray
    voted: np.ndarray
    classifiers: dict[str, np.ndarray]
    drawn: np.ndarray


@dataclass(frozen=True)
class CaseStages:
    """Scores of one case on the scan's grid; NaN where there is nothing to compare.

    Parameters
    ----------
    case : str
    dice : dict of stage to float
        Region of each classifier, and the pseudo-label.
    precision, sensitivity : float
        Of the pseudo-label.
    truth_ml, label_ml : float
        Volume of reference and pseudo-label.
    slices : SliceCalls
    """

    case: str
    dice: dict[str, float]
    precision: float
    sensitivity: float
    truth_ml: float
    label_ml: float
    slices: SliceCalls


def score_case(dataset: Path, case: str, reference: Path | None) -> CaseStages:
    """Score what the conversion kept of a case.

    Parameters
    ----------
    dataset : Path
        Folder that `clisc_make_pseudo_dataset` wrote.
    case : str
        One that did not fail.
    reference : Path, optional
        Mask (voxels above 0) on the scan's grid. None: there is no tumour in this scan.

    Raises
    ------
    ScanError
        If the reference cannot be read or lies on another grid.
    """
    stages = dataset / "clisc" / "stages" / case
    stack = unpack_stack(load_kept(stages / "slices.npz"))
    scan = read_geometry(dataset / "clisc" / "roi" / f"{case}.nii.gz")
    truth = np.zeros(scan.shape, bool) if reference is None else read_mask(reference, scan)
    # A case without a label is left out of the dataset: it counts as background.
    label_file = dataset / "labelsTr" / f"{case}.nii.gz"
    drawn = read_mask(label_file, scan) if label_file.exists() else np.zeros(scan.shape, bool)

    regions = {
        name: load_kept(path)
        for name in classifiers(dataset)
        if (path := stages / f"{name}_regions.npz").exists()
    }
    scores = {
        f"{name} ROI": dice(region_on_scan(r, stack, scan), truth) for name, r in regions.items()
    }
    scores["pseudo-label"] = dice(drawn, truth)

    labels = load_kept(stages / "labels.npz")
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
    return CaseStages(
        case=case,
        dice=scores,
        precision=precision(drawn, truth),
        sensitivity=sensitivity(drawn, truth),
        truth_ml=float(truth.sum()) * scan.voxel_ml,
        label_ml=float(drawn.sum()) * scan.voxel_ml,
        slices=calls,
    )


def classifiers(dataset: Path) -> tuple[str, ...]:
    """Classifiers of a conversion: without masking the raw one alone, whatever earlier runs left.

    Raises
    ------
    UserError
        If the settings that are kept beside it cannot be read.
    """
    path = dataset / "clisc" / "settings.json"
    if not path.exists():
        return CLASSIFIERS
    masked = from_json(path.read_text(encoding="utf-8"), str(path)).masking.mode != "off"
    return CLASSIFIERS if masked else CLASSIFIERS[:1]


def tumour_shares(calls: SliceCalls) -> dict[str, float]:
    """Share of the planes that each stage calls tumour; `unsure` ones are counted by themselves."""
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
    """Area of a mask on the scan's grid in each plane of the slices, (plane,)."""
    inside = resample(mask.astype(np.float32), scan, stack.geometry) > 0.5
    return inside.sum(axis=(1, 2)) * float(np.prod(stack.geometry.spacing[:2]))


def region_on_scan(arrays: dict[str, np.ndarray], stack: SliceStack, scan: Geometry) -> np.ndarray:
    """Region of a classifier, as it was kept, on the scan's grid; bool (plane, row, column)."""
    shape = stack.pixels.shape
    region = np.unpackbits(arrays["roi"], count=int(np.prod(shape))).reshape(shape)
    return to_scan_grid(region, stack, scan, outside=0.0) > 0.5


def load_kept(path: Path) -> dict[str, np.ndarray]:
    """Arrays of a finished run, whatever its signature.

    Raises
    ------
    UserError
        If they are not there, or damaged.
    """
    if not path.is_file():
        raise UserError(path, "no such file", "what the conversion has kept", "convert again")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error):
        kept = "what the conversion has kept"
        raise UserError(path, "a damaged file", kept, "go on with --continue") from None
