"""Does SAM improve the masks of a network? Network, redrawn by SAM, and both averaged.

    python -m benchmarks.refine -i SCANS -r REFERENCES [--looks all|axial]

SAM is prompted with the network's mask, as for the quality estimate; `averaged` is the mask where
the mean of the two logits is above 0.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.compare import paired
from benchmarks.comparison_tables import difference_cells, mean_cell
from clisc_nnunet.errors import UserError
from clisc_nnunet.evaluation.tables import markdown
from clisc_nnunet.inference.trained_model import NetworkChoice
from clisc_nnunet.inference.volume_predictor import VolumePredictor, load_predictor, segment_scan
from clisc_nnunet.inputs.find_cases import find_cases
from clisc_nnunet.io.volume import Geometry, Source, read_mask, read_volume
from clisc_nnunet.metrics import dice
from clisc_nnunet.models.device import chosen_device
from clisc_nnunet.models.sam import load_sam
from clisc_nnunet.s3f.similarity import make_volume_segmenter
from clisc_nnunet.settings import Settings
from clisc_nnunet.stages.pseudo_label import fill_holes
from clisc_nnunet.stages.sam.mask_stacking import OUTSIDE_LOGIT
from clisc_nnunet.stages.sam.volume_segmenter import VolumeSegmenter
from clisc_nnunet.stages.slice_extraction import (
    SliceStack,
    make_slices,
    mask_on_slices,
    to_scan_grid,
)

METHODS = ("network", "SAM redrawn", "averaged")


def logit(probability: np.ndarray) -> np.ndarray:
    """Logits of probabilities, clipped to the range of SAM's; float32 of the same shape."""
    share = np.clip(probability.astype(np.float32), 1e-6, 1 - 1e-6)
    return np.clip(np.log(share / (1 - share)), OUTSIDE_LOGIT, -OUTSIDE_LOGIT)


def redrawn(
    segmenter: VolumeSegmenter, case: str, stack: SliceStack, mask: np.ndarray, scan: Geometry
) -> np.ndarray:
    """SAM's logits on the scan's grid, float32, for a mask, bool, on that grid as the prompt."""
    drawn = segmenter.segment(case, stack, mask_on_slices(mask, scan, stack))
    return to_scan_grid(fill_holes(drawn.logits), stack, scan, outside=OUTSIDE_LOGIT)


def score_case(
    predictor: VolumePredictor,
    segmenter: VolumeSegmenter,
    case: str,
    source: Source,
    reference: Path,
) -> tuple[dict[str, float], float]:
    """Dice of each method, NaN without a tumour in both masks, and the seconds that SAM takes."""
    scan = read_volume(source)
    truth = read_mask(reference, scan.geometry)
    found = segment_scan(predictor, scan)
    network, brain = found.mask, found.brain
    started = time.perf_counter()
    stack = make_slices(scan, Settings().slices, brain)
    sam = redrawn(segmenter, case, stack, network, scan.geometry)
    seconds = time.perf_counter() - started
    masks = (network, (sam > 0) & brain, (logit(found.probability) + sam > 0) & brain)
    return {m: dice(mask, truth) for m, mask in zip(METHODS, masks, strict=True)}, seconds


def table(scores: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown table of the methods, from scores by method and case."""
    rows = []
    for method in METHODS:
        found = paired(scores["network"], scores[method], lower_is_better=False)
        lowest = min(scores[method].values())
        row = {"method": method, "Dice": mean_cell("dice", scores[method])}
        row |= {"lowest": f"{lowest:.3f}", **difference_cells("dice", found)}
        rows.append(row)
    return markdown(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-i", type=Path, required=True, help="folder of scans")
    parser.add_argument("-r", type=Path, required=True, help="references, CASE.nii.gz")
    parser.add_argument("-m", type=Path, help="trained model (default: the bundled network)")
    parser.add_argument("--sam", default="bundled", help="name or path of a SAM")
    parser.add_argument("--looks", choices=("all", "axial"), default="all")
    parser.add_argument("-device", choices=("cpu", "cuda", "mps"))
    arguments = parser.parse_args(argv)
    scores: dict[str, dict[str, float]] = {method: {} for method in METHODS}
    seconds = []
    try:
        device = chosen_device(arguments.device)
        predictor = load_predictor(NetworkChoice(arguments.m), device)
        sam = load_sam(arguments.sam, device)
        for case in tqdm(find_cases(arguments.i).cases, "refine", unit="scan"):
            # A new segmenter per scan: embeddings of the last one are of no use.
            segmenter = make_volume_segmenter(sam, Settings(), arguments.looks)
            found, taken = score_case(
                predictor, segmenter, case.name, case.image, arguments.r / f"{case.name}.nii.gz"
            )
            seconds.append(taken)
            for method, value in found.items():
                scores[method][case.name] = value
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    print(table(scores))
    print(f"\n{len(seconds)} scans; SAM takes {np.mean(seconds):.1f} s each on {device}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
