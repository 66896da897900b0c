"""What SAM said of each prediction, kept on disk: an estimate that was stopped goes on."""

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
    """Judgements of many cases, each kept as soon as it is made.

    Parameters
    ----------
    store : Store
    draughtsman : Draughtsman
        SAM, as it is to be asked.
    slices : SliceSettings
    jitter : JitterSettings
    processes : int
        Which read scans.
    brain_masks : Path, optional
        Folder of masks that take the place of extracted brains.
    kept : KeptSlices, optional
        Slices that the labels of these scans were drawn on.
    recipes : dict of case to Recipe
        Of the cases that are judged, by now or in an earlier run.
    failures : dict of case to str
        Why a case cannot be judged.
    taken_over : int
        Judgements of an earlier run that were taken over.
    on_kept_slices : int
        Cases that are judged on kept slices.
    """

    cache: ResultCache
    segmenter: VolumeSegmenter
    slices: SliceSettings
    jitter: JitterSettings
    processes: int = 1
    brain_masks: Path | None = None
    kept: DatasetSlices | None = None
    recipes: dict[str, Fingerprint] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    taken_over: int = 0
    on_kept_slices: int = 0

    def score(self, images: Mapping[str, Source], predictions: Mapping[str, Path]) -> None:
        """Judge the predictions whose judgement is not there, or was of something else.

        Raises
        ------
        StorageError
            If the disk is full. A case that cannot be read is one of the failures.
        """
        self.cache.remove_leftovers()
        to_do = self._missing(images, predictions)
        opened = self._opened(images, to_do)
        for case, job in tqdm(opened, "quality", len(to_do), unit="case", disable=not to_do):
            try:
                quality, views = score_prediction(self.segmenter, job.result(), self.jitter)
            except ScanError as error:
                self.failures[case] = str(error)
                del self.recipes[case]
            else:
                save_scores(self.cache, self.recipes[case], quality, views)

    def __iter__(self) -> Iterator[tuple[CaseQuality, list[View]]]:
        """Judged cases with their views."""
        for case, fingerprint in self.recipes.items():
            yield load_scores(self.cache, fingerprint, case)

    def _missing(
        self, images: Mapping[str, Source], predictions: Mapping[str, Path]
    ) -> dict[str, Path]:
        """Predictions that are to be judged; says so, where an earlier run left something."""
        reasons, missing = Counter[str | None](), {}
        for case, prediction in predictions.items():
            try:
                fingerprint = self._fingerprint(case, images[case], prediction)
            except ScanError as error:
                self.failures[case] = str(error)
                continue
            self.recipes[case] = fingerprint
            why = self.cache.mismatch(case, STAGE, fingerprint)
            reasons[why] += 1
            if why is not None:
                missing[case] = prediction
        self.taken_over = reasons[None]
        line = kept_line(len(self.recipes), reasons)
        if line:
            tqdm.write(f"quality: {line}", file=sys.stdout)
        return missing

    def _fingerprint(self, case: str, image: Source, prediction: Path) -> Fingerprint:
        """All that a judgement depends on, beside the name of its case."""
        scan, kept = scan_digest(image), None
        brain = slices_fingerprint(scan, self.slices, self._brain_file(case)).weights
        stack = self.kept.find(case, read_geometry(image)) if self.kept else None
        if stack is not None:
            self.on_kept_slices += 1
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
        """Cases as they are opened, in order; only a few are held in memory at a time."""
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
    """Write a judgement and its views, one or more of one shape, whole or not at all.

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
    """Inverse of `save_judgement`, for a judgement that is there and of this recipe."""
    arrays = cache.require(case, STAGE, fingerprint.signature)
    columns = (arrays[name] for name in ("titles", "pixels", "prediction", "answer"))
    views = [View(str(title), *slices) for title, *slices in zip(*columns, strict=True)]
    return CaseQuality(**json.loads(str(arrays["quality"]))), views
