"""nnU-Net datasets whose labels may be replaced by a round; preprocessed files stay unchanged.

A round writes masks or probabilities. Of probabilities, training sees masks: each time a case is
loaded, a threshold is drawn and applied to all of it. On average over thresholds, the loss is that
of soft targets, while nnU-Net's augmentation and losses get the integer labels that they expect.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.dataloading.nnunet_dataset import (
    comp_blosc2_params,
    nnUNetBaseDataset,
    nnUNetDatasetBlosc2,
    nnUNetDatasetNumpy,
)

from clisc_nnunet.errors import UserError

# The value of a tumour's voxels in nnU-Net's labels.
TUMOUR_LABEL = 1
# Thresholds that are drawn, in percent: what is less or more certain is not in question.
THRESHOLDS = (20, 80)


class SampledLabel:
    """Probabilities of a label in percent, read as a mask; the array is read when it is sliced.

    Parameters
    ----------
    percent : array of shape (1, x, y, z)
        Integers; below 0 outside of the brain, which is preserved.
    threshold : int
        Tumour is above it.
    """

    dtype = np.dtype(np.int8)

    def __init__(self, percent: Any, threshold: int) -> None:
        self._percent, self._threshold = percent, threshold
        self.shape = tuple(percent.shape)

    def __getitem__(self, where: Any) -> np.ndarray:
        """Part of the mask, int8: 0, 1 or -1."""
        part = np.asarray(self._percent[where])
        return np.where(part < 0, -1, part > self._threshold).astype(np.int8)


class _Relabelled(nnUNetBaseDataset):
    """Reads the label of a case from `overlay_folder` if it is there, except for `own_labels`."""

    overlay_folder: Path | None = None
    own_labels: frozenset[str] = frozenset()
    # Otherwise, probabilities are thresholded at a half.
    sample_thresholds = False

    def use_labels(self, folder: Path, trusted: frozenset[str]) -> None:
        """Use the labels of a round, but of trusted cases those that a person has checked."""
        self.overlay_folder, self.own_labels = folder, trusted

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict[str, Any]]:
        """Return data, label, label of the previous stage, and properties, as nnU-Net does."""
        data, seg, seg_prev, properties = super().load_case(identifier)
        if self.overlay_folder is not None and identifier not in self.own_labels:
            label, locations = overlay_files(self.overlay_folder, identifier)
            percent = percent_file(self.overlay_folder, identifier)
            soft = percent.is_file()
            if soft or label.is_file():
                # Opened lazily, as in nnU-Net: a patch only needs a few chunks.
                file = str(percent if soft else label)
                seg = blosc2.open(urlpath=file, mode="r", dparams={"nthreads": 1})
                if soft:
                    drawn = random.randint(*THRESHOLDS) if self.sample_thresholds else 50
                    seg = SampledLabel(seg, drawn)
                found = np.load(locations, allow_pickle=False)
                properties = {**properties, "class_locations": {TUMOUR_LABEL: found}}
        return data, seg, seg_prev, properties


class RelabelledBlosc2(_Relabelled, nnUNetDatasetBlosc2):
    """nnU-Net's default dataset, with labels of a round."""


class RelabelledNumpy(_Relabelled, nnUNetDatasetNumpy):
    """nnU-Net's dataset of .npz files, with labels of a round."""


# Module-level classes, because data loaders pickle them for worker processes.
RELABELLED_DATASETS: dict[type[nnUNetBaseDataset], type[_Relabelled]] = {
    nnUNetDatasetBlosc2: RelabelledBlosc2,
    nnUNetDatasetNumpy: RelabelledNumpy,
}


def overlay_files(folder: Path, case: str) -> tuple[Path, Path]:
    """Paths of the label and of the foreground locations of a case."""
    return folder / f"{case}.b2nd", folder / f"{case}_locations.npy"


def percent_file(folder: Path, case: str) -> Path:
    """Path of the probabilities of a case, in place of the label of `overlay_files`."""
    return folder / f"{case}_percent.b2nd"


def check_overlays(folder: Path, made: Mapping[str, Any], trusted: Collection[str]) -> None:
    """Check that all labels of a round exist: a missing one would silently be the old label.

    Parameters
    ----------
    folder : Path
        Of the round.
    made : mapping
        The round in a checkpoint: its cases `relabelled`, and how (`relabel`).
    trusted : collection of str
        Cases whose label of a round is not used.

    Raises
    ------
    UserError
    """
    for case in sorted(set(made["relabelled"]) - set(trusted)):
        mask, locations = overlay_files(folder, case)
        label = percent_file(folder, case) if made.get("relabel") == "soft" else mask
        for file in (label, locations):
            if not file.is_file():
                hint = "restore the folder, or restart the training without --c"
                expected = "a label written by a round of this training"
                raise UserError(file, "no such file", expected, hint)


def write_overlay(
    folder: Path,
    case: str,
    probability: np.ndarray,
    seg: np.ndarray,
    patch: tuple[int, ...],
    soft: bool = False,
) -> None:
    """Write a label that replaces the preprocessed one.

    Parameters
    ----------
    probability : float ndarray of shape (x, y, z)
        Of the new label, in the plan's axis order.
    seg : int ndarray of shape (1, x, y, z)
        The preprocessed label; -1 (outside of the brain) is preserved for nnU-Net's masking.
    patch : tuple of 2 or 3 int
        The plan's patch size, which determines the chunks.
    soft : bool
        Write the probabilities; otherwise, tumour where they are above a half.
    """
    label = np.where(seg < 0, -1, probability[None] > 0.5).astype(np.int8)
    # nnU-Net oversamples foreground by these locations, which must match the new label.
    found = DefaultPreprocessor._sample_foreground_locations(label, [TUMOUR_LABEL])[TUMOUR_LABEL]
    file, locations = overlay_files(folder, case)
    blocks, chunks = comp_blosc2_params(label.shape, patch, label.itemsize)
    if soft:
        file = percent_file(folder, case)
        percent = np.rint(100 * probability[None])
        # Rounding must not change the mask.
        percent = np.where(label > 0, np.maximum(percent, 51), np.minimum(percent, 50))
        label = np.where(seg < 0, -1, percent).astype(np.int8)
    nnUNetDatasetBlosc2.save_seg(label, str(file.with_suffix("")), chunks, blocks)
    np.save(locations, np.asarray(found, np.int64).reshape(-1, label.ndim))
