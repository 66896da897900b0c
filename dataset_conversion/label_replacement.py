"""Put a corrected label into `labelsTr`, and keep what it replaces."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import numpy as np

from clisc_nnunet.dataset_layout import DatasetLayout
from clisc_nnunet.io.atomic_write import atomic_file, replace_durably
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.io.volume import Geometry, write_volume
from clisc_nnunet.pipeline.result_cache import ResultCache

# Hash of a person's label that was rewritten here; the person may save a newer one beside it.
RECORD = "correction"


def replace_label(dataset: DatasetLayout, case: str, mask: np.ndarray, geometry: Geometry) -> None:
    """Write a corrected label; an earlier one is kept in `clisc/replaced_labels`.

    Parameters
    ----------
    mask : bool ndarray of shape geometry.shape
        On the grid of the scan.
    """
    label, cache = dataset.label(case), ResultCache(dataset.stages)
    if label.is_file():
        keep_copy(dataset, label)
    # Not in labelsTr, where nnU-Net would find what a killed run leaves behind.
    unplaced = cache.root / case / f".{uuid.uuid4().hex[:12]}.{label.name}"
    write_volume(unplaced, mask, geometry)
    cache.write_record(case, RECORD, {"sha256": file_sha256(unplaced)})
    label.parent.mkdir(parents=True, exist_ok=True)
    replace_durably(unplaced, label)


def is_rewritten(dataset: DatasetLayout, case: str) -> bool:
    """Whether the label of a case is a correction as `replace_label` wrote it."""
    known = ResultCache(dataset.stages).read_record(case, RECORD).get("sha256")
    return bool(known) and known == file_sha256(dataset.label(case))


def keep_copy(dataset: DatasetLayout, path: Path) -> None:
    """Copy a label to `clisc/replaced_labels`, under its hash and name."""
    kept = dataset.replaced_labels / f"{file_sha256(path)[:12]}_{path.name}"
    if not kept.exists():
        with atomic_file(kept) as temporary:
            shutil.copy2(path, temporary)


def move_away(dataset: DatasetLayout, path: Path) -> None:
    """Move a file out of `labelsTr` whose content is now that of `CASE.nii.gz`."""
    keep_copy(dataset, path)
    path.unlink()
