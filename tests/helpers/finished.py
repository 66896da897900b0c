"""A finished conversion without models: cached results of each stage from given masks."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from clisc_nnunet.io.volume import Geometry, write_volume
from clisc_nnunet.pipeline.result_cache import ResultCache
from clisc_nnunet.pipeline.serialization import pack_region, pack_stack, unpack_region, unpack_stack
from clisc_nnunet.settings import Settings
from clisc_nnunet.stages.slice_extraction import SliceStack

SHAPE = (8, 32, 32)  # plane, row, column; SAM wants squares
# 1.5 x 1.5 x 6 mm; the columns of the scan are reversed, and its origin differs.
SLICES = Geometry(SHAPE[::-1], (1.5, 1.5, 6.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
SCAN = Geometry(SHAPE[::-1], (1.5, 1.5, 6.0), (1.5 * 31, 0.0, 0.0), (-1, 0, 0, 0, 1, 0, 0, 0, 1))


@dataclass(frozen=True)
class FinishedCase:
    """Masks bool and CAM float (plane, row, column), all on the slices' grid."""

    raw: np.ndarray
    enhanced: np.ndarray
    label: np.ndarray
    probability: np.ndarray
    """Probability by CLIP and both classifiers, (plane,)."""
    voted: np.ndarray


def block(planes: slice, rows: slice, columns: slice) -> np.ndarray:
    """A box-shaped mask on the slices' grid."""
    mask = np.zeros(SHAPE, bool)
    mask[planes, rows, columns] = True
    return mask


def on_scan(mask: np.ndarray) -> np.ndarray:
    """A mask of the slices on the scan's grid."""
    return mask[:, :, ::-1]


def stage_arrays(case: FinishedCase) -> dict[str, dict[str, np.ndarray]]:
    """Arrays by stage, as in the cache."""
    pixels = np.full(SHAPE, 80, np.uint8)
    pixels[case.label] = 200
    planes = np.arange(SHAPE[0])
    shown = np.flatnonzero(case.enhanced.any(axis=(1, 2)))
    logits = np.where(case.label[shown], 4.0, -4.0).astype(np.float16)
    stages = {
        "slices": pack_stack(SliceStack(pixels, np.ones(SHAPE, bool), SLICES)),
        "labels": {
            "planes": planes,
            "probability": case.probability.astype(np.float32),
            "label": (case.probability > 0.5).astype(int),
            "voted": case.voted,
        },
        "masks": {
            "planes": shown,
            "logits": logits,
            "predicted_iou": np.full(len(shown), 0.8, np.float32),
        },
    }
    for name, roi in (("raw", case.raw), ("enhanced", case.enhanced)):
        found = np.flatnonzero(roi.any(axis=(1, 2)))
        stages[f"{name}_regions"] = {
            "planes": found,
            "probability": case.probability.astype(np.float32),
            "cam": (255 * roi[found]).astype(np.uint8),
            "roi": pack_region(roi),
        }
    return stages


class FinishedRun:
    """Stands in for `RunResults`, with arrays in memory."""

    def __init__(self, cases: dict[str, FinishedCase], settings: Settings) -> None:
        self.config = SimpleNamespace(settings=settings)
        self._stages = {name: stage_arrays(case) for name, case in cases.items()}

    def arrays(self, case: str, stage: str) -> dict[str, np.ndarray]:
        return self._stages[case][stage]

    def stack(self, case: str) -> SliceStack:
        return unpack_stack(self.arrays(case, "slices"))

    def region(self, case: str, name: str) -> np.ndarray:
        return unpack_region(self.arrays(case, f"{name}_regions")["roi"], SHAPE)


def write_finished(folder: Path, cases: dict[str, FinishedCase], failed: str) -> Path:
    """Dataset folder with these cases, and one that failed."""
    rows = [{"case": failed, "status": "failed", "predicted_iou": 0.0}]
    for name, case in cases.items():
        for stage, arrays in stage_arrays(case).items():
            ResultCache(folder / "clisc" / "stages").save(name, stage, "any", arrays)
        write_volume(folder / "clisc" / "roi" / f"{name}.nii.gz", on_scan(case.enhanced), SCAN)
        labelled = bool(case.label.any())
        if labelled:
            write_volume(folder / "labelsTr" / f"{name}.nii.gz", on_scan(case.label), SCAN)
        status = "labelled" if labelled else "empty"
        rows.append({"case": name, "status": status, "predicted_iou": 0.8})
    with (folder / "clisc" / "cases.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    record = {"seconds": {"SAM": 3.0, "total": 4.0}, "peak_memory_gb": 1.5}
    (folder / "clisc" / "run.json").write_text(json.dumps(record))
    return folder


EMPTY = np.zeros(SHAPE, bool)
# The region covers planes 2 to 5; the label is largest in plane 4.
REGION = block(slice(2, 6), slice(6, 14), slice(8, 20))
LABEL = block(slice(2, 6), slice(8, 12), slice(10, 16)) | block(
    slice(4, 5), slice(8, 18), slice(10, 22)
)
PROBABILITY = np.array([0.1, 0.2, 0.6, 0.7, 0.7, 0.6, 0.2, 0.9])
CASE = FinishedCase(EMPTY, REGION, LABEL, PROBABILITY, (PROBABILITY > 0.5).astype(int))
