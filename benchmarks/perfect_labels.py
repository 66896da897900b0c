"""Slice labels as if CLIP never erred, for the ablation: made from references.

`clisc_make_pseudo_dataset --slice-labels` takes them in place of CLIP's.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from clisc_nnunet.dataset_conversion.slice_label_csv import NAMES
from clisc_nnunet.evaluation.stage_scores import CLEAR_MM2, area_mm2, load_kept
from clisc_nnunet.io.volume import read_geometry, read_mask
from clisc_nnunet.pipeline.serialization import unpack_stack
from clisc_nnunet.stages.slice_classes import NORMAL, TUMOUR, UNSURE


def perfect_labels(dataset: Path, references: Path) -> str:
    """Table of the true slice labels of a conversion's cases.

    Parameters
    ----------
    dataset : Path
        Finished conversion: its slices say which plane is which.
    references : Path
        Folder of CASE.nii.gz.

    Returns
    -------
    str
        CSV with `case`, `plane` and `label`; a plane with less than `CLEAR_MM2` of tumour, but
        some, is `unsure`.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "plane", "label"])
    for folder in sorted(p for p in (dataset / "clisc" / "stages").iterdir() if p.is_dir()):
        stack = unpack_stack(load_kept(folder / "slices.npz"))
        path = references / f"{folder.name}.nii.gz"
        scan = read_geometry(path)
        area = area_mm2(read_mask(path, scan), scan, stack)
        label = np.where(area >= CLEAR_MM2, TUMOUR, np.where(area > 0, UNSURE, NORMAL))
        for plane in stack.planes_with_brain.tolist():
            writer.writerow([folder.name, plane, NAMES[int(label[plane])]])
    return text.getvalue()
