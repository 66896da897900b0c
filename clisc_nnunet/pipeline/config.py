"""Inputs of a run: its configuration and its cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clisc_nnunet.dataset_layout import DatasetLayout
from clisc_nnunet.io.volume import Source
from clisc_nnunet.models.model_set import ModelNames, Models
from clisc_nnunet.pipeline.result_cache import ResultCache
from clisc_nnunet.settings import Settings


@dataclass(frozen=True)
class RunConfig:
    """What a worker process needs for any case; picklable, so it holds names instead of models.

    Parameters
    ----------
    device : str
        Name of a torch device.
    cache : ResultCache
        Results of the stages.
    dataset : DatasetLayout
        Receives the label, CAM and region of each case, on the grid of its scan.
    empty_labels : bool
        Cases without a tumour get an empty label; otherwise they get none.
    """

    settings: Settings
    names: ModelNames
    device: str
    cache: ResultCache
    dataset: DatasetLayout
    empty_labels: bool = False

    @property
    def models(self) -> Models:
        """The models, loaded once in each process."""
        return self.names.load(self.device)

    def classifier_file(self, name: str) -> Path:
        """Weights of the classifier `raw` or `enhanced`."""
        return self.cache.root / f"classifier_{name}.safetensors"

    def choice_file(self, classifier: str) -> Path:
        """Selected CAM layer and threshold of a classifier, for runs on a part of the cases."""
        return self.cache.root / f"choice_{classifier}.json"


@dataclass(frozen=True)
class CaseInput:
    """One case of the input folder.

    Parameters
    ----------
    scan : Path or Series
        Label channel, from which the pseudo-label is made.
    channels : tuple of (Path or Series)
        All scans of the case including `scan`, in order of nnU-Net's channels.
    brain_mask : Path, optional
        Mask to use instead of brain extraction.
    slice_labels : mapping of plane to label, optional
        Labels to use instead of CLIP's.
    digests : mapping of scan to sha256
        Hashes of the scans at the start of the run.
    """

    name: str
    scan: Source
    channels: tuple[Source, ...] = ()
    brain_mask: Path | None = None
    slice_labels: Mapping[int, int] | None = None
    digests: Mapping[Source, str] = field(default_factory=dict)

    @property
    def other_channels(self) -> tuple[Source, ...]:
        """Scans of the dataset that are not segmented."""
        return tuple(source for source in self.channels if source != self.scan)
