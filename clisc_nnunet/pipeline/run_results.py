"""Results of a run, read-only, for the report, the tables and the record of the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np

from clisc_nnunet.io.volume import Source
from clisc_nnunet.pipeline.case_result import CaseOutcome
from clisc_nnunet.pipeline.config import RunConfig
from clisc_nnunet.pipeline.serialization import unpack_region, unpack_stack
from clisc_nnunet.stages.cam_selection import Trial
from clisc_nnunet.stages.classifier_training import REMEMBERED_STACKS
from clisc_nnunet.stages.slice_extraction import SliceStack


@dataclass(frozen=True)
class RunResults:
    """Results of a run so far; arrays are read from the cache, one case at a time.

    Parameters
    ----------
    cases : tuple of str
        Cases that were not skipped, sorted by name.
    signatures : mapping of (case, stage) to signature
        Signatures of the results of this run.
    outcomes : tuple of CaseOutcome
        One per case once the last stage is done, else empty.
    failures : mapping of case to reason
        Cases that were skipped.
    notes : tuple of str
        One line per stage on the results reused from an earlier run.
    files_read : tuple of str
        All scans and masks that were opened.
    digests : mapping of scan to sha256
        Hashes of the scans at the start of the run.
    trials : mapping of classifier to Trial
        Trials from which the CAM's layer and threshold were selected.
    """

    config: RunConfig
    cases: tuple[str, ...]
    signatures: Mapping[tuple[str, str], str]
    outcomes: tuple[CaseOutcome, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    files_read: tuple[str, ...] = ()
    digests: Mapping[Source, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    trials: Mapping[str, list[Trial]] = field(default_factory=dict)

    def arrays(self, case: str, stage: str) -> dict[str, np.ndarray]:
        """Arrays of a stage."""
        return self.config.cache.require(case, stage, self.signatures[case, stage])

    def stack(self, case: str) -> SliceStack:
        """Slices of a case."""
        return self._remembered_stack(case)

    def region(self, case: str, classifier: str) -> np.ndarray:
        """Region of interest of a case, bool (plane, row, column)."""
        packed = self.arrays(case, f"{classifier}_regions")["roi"]
        return unpack_region(packed, self.stack(case).pixels.shape)

    @cached_property
    def _remembered_stack(self) -> Callable[[str], SliceStack]:
        return lru_cache(REMEMBERED_STACKS)(lambda case: unpack_stack(self.arrays(case, "slices")))
