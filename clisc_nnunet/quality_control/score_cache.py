"""Scores of predictions, cached on disk so that an interrupted estimate can be resumed."""

from __future__ import annotations

import json
import sys
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
from tqdm import tqdm

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.volume import Source, read_geometry, scan_digest
from clisc_nnunet.pipeline.case_tracker import kept_line
from clisc_nnunet.pipeline.result_cache import Fingerprint, ResultCache
from clisc_nnunet.pipeline.slice_step import slices_fingerprint
from clisc_nnunet.processes import make_executor
from clisc_nnunet.quality_control.prediction_scores import (
    CaseQuality,
    OpenedPrediction,
    View,
    open_prediction,
    score_prediction,
)
from clisc_nnunet.quality_control.prompt_stability import JitterSettings
from clisc_nnunet.s3f.dataset_slices import DatasetSlices
from clisc_nnunet.settings import SliceSettings
from clisc_nnunet.stages.sam.volume_segmenter import VolumeSegmenter

STAGE = "quality"


@dataclass
class ScoreCache:
    """Scores of many cases, each saved as soon as it is computed.

    Parameters
    ----------
    cache : ResultCache
    segmenter : VolumeSegmenter
    slices : SliceSettings
    jitter : JitterSettings
    processes : int
        Number of processes that read scans.
    brain_masks : Path, optional
        Folder of brain masks to be used instead of brain extraction.
    kept : DatasetSlices, optional
        Stored slices of the pseudo-labels.
    fingerprints : dict of case to Fingerprint
        Cases with a score, from this run or an earlier one.
    failures : dict of case to str
        Error message of each case that could not be scored.
    reused : int
        Number of scores reused from an earlier run.
    on_stored_slices : int
        Number of cases scored on stored slices.
    """

    cache: ResultCache
    segmenter: VolumeSegmenter
    slices: SliceSettings
    jitter: JitterSettings
    processes: int = 1
    brain_masks: Path | None = None
    kept: DatasetSlices | None = None
    fingerprints: dict[str, Fingerprint] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    reused: int = 0
    on_stored_slices: int = 0

    def score(self, images: Mapping[str, Source], predictions: Mapping[str, Path]) -> None:
        """Score the predictions whose score is missing or outdated.

        Raises
        ------
        StorageError
            If the disk is full. Cases that cannot be read are added to `failures`.
        """
        self.cache.remove_leftovers()
        to_do = self._missing(images, predictions)
        opened = self._opened(images, to_do)
        for case, job in tqdm(opened, "quality", len(to_do), unit="case", disable=not to_do):
            try:
                quality, views = score_prediction(self.segmenter, job.result(), self.jitter)
            except ScanError as error:
                self.failures[case] = str(error)
                del self.fingerprints[case]
            else:
                save_scores(self.cache, self.fingerprints[case], quality, views)

    def __iter__(self) -> Iterator[tuple[CaseQuality, list[View]]]:
        """Scored cases with their views."""
        for case, fingerprint in self.fingerprints.items():
            yield load_scores(self.cache, fingerprint, case)

    def _missing(
        self, images: Mapping[str, Source], predictions: Mapping[str, Path]
    ) -> dict[str, Path]:
        """Predictions to be scored; logs how many scores of an earlier run are reused."""
        reasons, missing = Counter[str | None](), {}
        for case, prediction in predictions.items():
            try:
                fingerprint = self._fingerprint(case, images[case], prediction)
            except ScanError as error:
                self.failures[case] = str(error)
                continue
            self.fingerprints[case] = fingerprint
            why = self.cache.mismatch(case, STAGE, fingerprint)
            reasons[why] += 1
            if why is not None:
                missing[case] = prediction
        self.reused = reasons[None]
        line = kept_line(len(self.fingerprints), reasons)
        if line:
            tqdm.write(f"quality: {line}", file=sys.stdout)
        return missing

    def _fingerprint(self, case: str, image: Source, prediction: Path) -> Fingerprint:
        """Everything that a score depends on, except for the name of its case."""
        scan, kept = scan_digest(image), None
        brain = slices_fingerprint(scan, self.slices, self._brain_file(case)).weights
        stack = self.kept.find(case, read_geometry(image)) if self.kept else None
        if stack is not None:
            self.on_stored_slices += 1
            kept = sha256(stack.pixels.tobytes() + stack.brain.tobytes()).hexdigest()
            brain = None
        settings = {
            "slices": self.slices,
            "prompts": self.segmenter.prompts,
            "sam": self.segmenter.settings,
            "jitter": self.jitter,
        }
        inputs = [scan, scan_digest(prediction), kept]
        return Fingerprint(inputs, settings, [self.segmenter.model.identity, brain])

    def _brain_file(self, case: str) -> Path | None:
        return self.brain_masks and self.brain_masks / f"{case}.nii.gz"

    def _opened(
        self, images: Mapping[str, Source], predictions: Mapping[str, Path]
    ) -> Iterator[tuple[str, Future[OpenedPrediction]]]:
        """Open cases in order, at most `processes` ahead, to limit memory."""
        ahead: deque[tuple[str, Future[OpenedPrediction]]] = deque()
        with make_executor(self.processes) as executor:
            for case, prediction in predictions.items():
                job = executor.submit(
                    open_prediction,
                    case,
                    images[case],
                    prediction,
                    self.slices,
                    self._brain_file(case),
                    self.kept,
                )
                ahead.append((case, job))
                if len(ahead) >= self.processes:
                    yield ahead.popleft()
            yield from ahead


def save_scores(
    cache: ResultCache, fingerprint: Fingerprint, quality: CaseQuality, views: Sequence[View]
) -> None:
    """Save a score and its views (at least one, all of one shape) atomically.

    Raises
    ------
    StorageError
    """
    arrays = {
        "quality": np.array(json.dumps(asdict(quality))),
        "titles": np.array([view.title for view in views]),
        "pixels": np.stack([view.pixels for view in views]),
        "prediction": np.stack([view.prediction for view in views]),
        "answer": np.stack([view.answer for view in views]),
    }
    cache.save(quality.case, STAGE, fingerprint, arrays)


def load_scores(
    cache: ResultCache, fingerprint: Fingerprint, case: str
) -> tuple[CaseQuality, list[View]]:
    """Inverse of `save_scores`; the file must exist and have this fingerprint."""
    arrays = cache.require(case, STAGE, fingerprint.signature)
    columns = (arrays[name] for name in ("titles", "pixels", "prediction", "answer"))
    views = [View(str(title), *slices) for title, *slices in zip(*columns, strict=True)]
    return CaseQuality(**json.loads(str(arrays["quality"]))), views
