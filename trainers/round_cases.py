"""Cases of a round: image, current label, and the slices that SAM is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset

from clisc_nnunet.s3f.dataset_sam import label_channel, pipeline_settings
from clisc_nnunet.s3f.dataset_slices import DatasetSlices
from clisc_nnunet.settings import SliceSettings
from clisc_nnunet.trainers.preprocessed_case import PreprocessedCase, scan_geometry
from clisc_nnunet.trainers.relabelled_dataset import TUMOUR_LABEL


@dataclass(frozen=True)
class LoadedCase:
    """A case of the training set; arrays in the plan's axis order.

    Parameters
    ----------
    data : float32 ndarray of shape (channel, x, y, z)
        Preprocessed image.
    label : int8 ndarray of shape (x, y, z)
        Label that is trained on; -1 outside of the brain.
    view : PreprocessedCase
        Of the channel from which the pseudo-labels were made.
    has_kept_slices : bool
        Whether the view has the stored slices of the pseudo-label, instead of slices of the
        preprocessed image.
    """

    data: np.ndarray
    label: np.ndarray
    view: PreprocessedCase
    has_kept_slices: bool

    @property
    def tumour(self) -> np.ndarray:
        """Bool (x, y, z)."""
        return self.label == TUMOUR_LABEL

    @property
    def inside(self) -> np.ndarray:
        """Voxels that nnU-Net did not mark as outside of the brain, bool (x, y, z)."""
        return self.label >= 0


@dataclass(frozen=True)
class CaseLoader:
    """Loads cases from nnU-Net's preprocessed data.

    Parameters
    ----------
    dataset : nnUNetBaseDataset
    transpose_backward : tuple of 3 int
        Of the plan: permutation from its axis order to (plane, row, column).
    channel : int
        From which the pseudo-labels were made.
    slices : SliceSettings
        Of the pseudo-labels.
    kept : DatasetSlices or None
        The stored slices, if the raw dataset is available.
    """

    dataset: nnUNetBaseDataset
    transpose_backward: tuple[int, ...]
    channel: int
    slices: SliceSettings
    kept: DatasetSlices | None

    @classmethod
    def of_training(
        cls,
        dataset: nnUNetBaseDataset,
        transpose_backward: tuple[int, ...],
        dataset_json: Mapping[str, Any],
        clisc: Path | None,
    ) -> CaseLoader:
        """Loader by the dataset's settings; `clisc` is the folder of the raw dataset."""
        slices = pipeline_settings(dataset_json).slices
        kept = None if clisc is None else DatasetSlices(clisc, slices)
        return cls(dataset, transpose_backward, label_channel(dataset_json), slices, kept)

    def label(self, case: str) -> np.ndarray:
        """The label alone; see `LoadedCase`."""
        return np.asarray(self.dataset.load_case(case)[1][:])[0]

    def load(self, case: str) -> LoadedCase:
        """Load a case completely."""
        data, seg, _, properties = self.dataset.load_case(case)
        image, label = np.asarray(data[:]), np.asarray(seg[:])[0]
        kept = None
        if self.kept is not None:
            kept = self.kept.find(case, scan_geometry(properties, self.transpose_backward))
        view = PreprocessedCase(
            image[self.channel],
            label >= 0,
            properties,
            self.transpose_backward,
            self.slices,
            kept,
        )
        return LoadedCase(image, label, view, kept is not None)
