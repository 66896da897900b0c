"""Copies of a dataset's lists beside its preprocessed data, for trainings without the raw dataset.

nnU-Net trains from `nnUNet_preprocessed` alone, often on another machine. The trainer reads the
lists of the raw dataset where it exists, else these copies.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from clisc_nnunet.dataset_layout import DatasetLayout
from clisc_nnunet.errors import StorageError
from clisc_nnunet.io.atomic_write import write_text

RAW, PREPROCESSED = "nnUNet_raw", "nnUNet_preprocessed"


def preprocessed_folder(dataset: DatasetLayout) -> Path | None:
    """Folder of the preprocessed dataset, or None if there is none."""
    root = os.environ.get(PREPROCESSED)
    folder = Path(root) / dataset.folder.absolute().name if root else None
    return folder if folder is not None and folder.is_dir() else None


def copy_lists(dataset: DatasetLayout) -> None:
    """Copy the lists of cases, and the table with their names, if the dataset is preprocessed.

    A list that does not exist becomes an empty one. Failures are reported, and nothing else: the
    dataset itself is complete without the copies.
    """
    folder = preprocessed_folder(dataset)
    if folder is None:
        return
    copies = DatasetLayout(folder)
    pairs = (
        (dataset.cases_csv, copies.cases_csv),
        (dataset.trusted_txt, copies.trusted_txt),
        (dataset.exclude_txt, copies.exclude_txt),
        (dataset.phantoms_txt, copies.phantoms_txt),
    )
    try:
        for source, target in pairs:
            text = source.read_text(encoding="utf-8") if source.is_file() else ""
            if not target.is_file() or target.read_text(encoding="utf-8") != text:
                write_text(target, text)
    except (OSError, StorageError, UnicodeDecodeError) as error:
        print(f"warning: the lists were not copied: {error}", file=sys.stderr)
