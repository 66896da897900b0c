"""True slice labels from references, for the ablation.

`clisc_make_pseudo_dataset --slice-labels` uses them instead of CLIP's labels.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from clisc_nnunet.dataset_conversion.slice_label_csv import NAMES
from clisc_nnunet.dataset_layout import DatasetLayout
from clisc_nnunet.evaluation.stage_scores import CLEAR_MM2, area_mm2, load_arrays
from clisc_nnunet.io.volume import read_geometry, read_mask
from clisc_nnunet.pipeline.serialization import unpack_stack
from clisc_nnunet.stages.slice_classes import NORMAL, TUMOUR, UNSURE


def perfect_labels(dataset: Path, references: Path) -> str:
    """Table of the true slice labels of a conversion's cases.

    Parameters
    ----------
    dataset : Path
        Finished conversion, for the planes of its slices.
    references : Path
        Folder of CASE.nii.gz.

    Returns
    -------
    str
        CSV with `case`, `plane` and `label`; planes with a tumour area below `CLEAR_MM2` are
        `unsure`.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "plane", "label"])
    for folder in sorted(p for p in DatasetLayout(dataset).stages.iterdir() if p.is_dir()):
        stack = unpack_stack(load_arrays(folder / "slices.npz"))
        path = references / f"{folder.name}.nii.gz"
        scan = read_geometry(path)
        area = area_mm2(read_mask(path, scan), scan, stack)
        label = np.where(area >= CLEAR_MM2, TUMOUR, np.where(area > 0, UNSURE, NORMAL))
        for plane in stack.planes_with_brain.tolist():
            writer.writerow([folder.name, plane, NAMES[int(label[plane])]])
    return text.getvalue()
