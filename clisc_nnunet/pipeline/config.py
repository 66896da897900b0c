"""What a run is about: its configuration, and the cases that it works on."""

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
    """What a process needs to work on any case: settings, names and paths, so that it pickles.

    Parameters
    ----------
    settings, names
        What makes the pseudo-labels.
    device : str
        Name of a torch device.
    cache : ResultCache
        Keeps the results of the stages.
    dataset : DatasetLayout
        Receives the label, CAM and region of each case, on the grid of its scan.
    empty_labels : bool
        Cases without a tumour get a label, too.
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


@dataclass(frozen=True)
class CaseInput:
    """One case as it enters a run.

    Parameters
    ----------
    name : str
    scan : Path or Series
        The label channel: the scan from which the pseudo-label comes.
    channels : tuple of (Path or Series)
        All scans of the case, `scan` among them, in order of nnU-Net's channels.
    brain_mask : Path, optional
        A mask that takes the place of the extracted brain.
    slice_labels : mapping of plane to label, optional
        Takes the place of CLIP's labels.
    digests : mapping of scan to sha256
        Content of the scans when the run began.
    """

    name: str
    scan: Source
    channels: tuple[Source, ...] = ()
    brain_mask: Path | None = None
    slice_labels: Mapping[int, int] | None = None
    digests: Mapping[Source, str] = field(default_factory=dict)

    @property
    def other_channels(self) -> tuple[Source, ...]:
        """Scans that go into the dataset without being segmented."""
        return tuple(source for source in self.channels if source != self.scan)
