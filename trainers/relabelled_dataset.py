"""nnU-Net datasets whose labels may be replaced by a round; preprocessed files stay unchanged."""

from __future__ import annotations

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

# The value of a tumour's voxels in nnU-Net's labels.
TUMOUR_LABEL = 1


class _Relabelled(nnUNetBaseDataset):
    """Reads the label of a case from `overlay_folder` if it is there, except for `own_labels`."""

    overlay_folder: Path | None = None
    own_labels: frozenset[str] = frozenset()

    def use_labels(self, folder: Path, trusted: frozenset[str]) -> None:
        """Use the labels of a round, but of trusted cases those that a person has checked."""
        self.overlay_folder, self.own_labels = folder, trusted

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict[str, Any]]:
        """Return data, label, label of the previous stage, and properties, as nnU-Net does."""
        data, seg, seg_prev, properties = super().load_case(identifier)
        if self.overlay_folder is not None and identifier not in self.own_labels:
            label, locations = overlay_files(self.overlay_folder, identifier)
            if label.is_file():
                # Opened lazily, as in nnU-Net: a patch only needs a few chunks.
                seg = blosc2.open(urlpath=str(label), mode="r", dparams={"nthreads": 1})
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


def write_overlay(
    folder: Path, case: str, mask: np.ndarray, seg: np.ndarray, patch: tuple[int, ...]
) -> None:
    """Write a label that replaces the preprocessed one.

    Parameters
    ----------
    mask : bool ndarray of shape (x, y, z)
        The new label, in the plan's axis order.
    seg : int ndarray of shape (1, x, y, z)
        The preprocessed label; -1 (outside of the brain) is preserved for nnU-Net's masking.
    patch : tuple of 2 or 3 int
        The plan's patch size, which determines the chunks.
    """
    label = np.where(seg < 0, -1, mask[None]).astype(np.int8)
    # nnU-Net oversamples foreground by these locations, which must match the new label.
    found = DefaultPreprocessor._sample_foreground_locations(label, [TUMOUR_LABEL])[TUMOUR_LABEL]
    file, locations = overlay_files(folder, case)
    blocks, chunks = comp_blosc2_params(label.shape, patch, label.itemsize)
    nnUNetDatasetBlosc2.save_seg(label, str(file.with_suffix("")), chunks, blocks)
    np.save(locations, np.asarray(found, np.int64).reshape(-1, label.ndim))
