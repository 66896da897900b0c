"""The method on one page: the stages of the paper over many cases, in order.

Every result goes through the cache, so that an interrupted run can be resumed, and only one case is
in memory at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.volume import Source, scan_digest
from clisc_nnunet.pipeline import cam_choice, classifier_step
from clisc_nnunet.pipeline.cam_choice import CamGrid, trial_step
from clisc_nnunet.pipeline.case_result import CaseOutcome, failed_outcomes
from clisc_nnunet.pipeline.case_tracker import CaseTracker
from clisc_nnunet.pipeline.config import CaseInput, RunConfig
from clisc_nnunet.pipeline.label_placement import recorded_outcome
from clisc_nnunet.pipeline.label_step import label_step
from clisc_nnunet.pipeline.model_steps import (
    LABEL_SLICES,
    CamChoice,
    TrainedClassifier,
    cam_step,
    segment_step,
    sure_slices,
)
from clisc_nnunet.pipeline.run_results import RunResults
from clisc_nnunet.pipeline.run_step import CaseStep, StepOutput, run_step
from clisc_nnunet.pipeline.slice_step import CHECK_CHANNELS, EXTRACT_SLICES, slices_fingerprint
from clisc_nnunet.processes import WorkerPool
from clisc_nnunet.stages import clip_labels
from clisc_nnunet.stages.cam_selection import Trial, candidates

# Steps after which a run may stop; `classifier` and `enhanced` train on all cases.
STEPS = ("slices", "classifier", "regions", "enhanced", "labels")
# Steps that process one case at a time, so that the cases can be divided among machines.
SHARED_STEPS = ("slices", "regions", "labels")


@dataclass
class PseudoLabelPipeline:
    """Makes a pseudo-label for every scan with a tumour.

    Parameters
    ----------
    scan_pool, model_pool : WorkerPool
        Worker pools for scan files and for the models; may be the same.
    partial : bool
        The cases are a part of all; classifiers trained on all cases must exist, and are used.
    retry : bool
        Retry cases that were skipped in an earlier run.
    """

    config: RunConfig
    scan_pool: WorkerPool
    model_pool: WorkerPool
    partial: bool = False
    retry: bool = False

    tracker: CaseTracker = field(init=False)
    _inputs: dict[str, CaseInput] = field(default_factory=dict, init=False)
    _outcomes: list[CaseOutcome] = field(default_factory=list, init=False)
    _files_read: list[str] = field(default_factory=list, init=False)
    _digests: dict[Source, str] = field(default_factory=dict, init=False)
    _seconds: dict[str, float] = field(default_factory=dict, init=False)
    _trials: dict[str, list[Trial]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.tracker = CaseTracker(self.config.cache, self.retry)

    def run(
        self,
        cases: Sequence[CaseInput],
        trusted: Mapping[str, CaseOutcome] | None = None,
        last: str = "labels",
    ) -> RunResults:
        """Run the stages up to a step.

        Parameters
        ----------
        trusted : mapping of case to CaseOutcome, optional
            Cases whose label was checked or edited by a person, and is not overwritten.
        last : str
            Step to stop after, one of `STEPS`.

        Raises
        ------
        NoTumourError
            If CLIP finds tumours in no slice, or in all of them: the classifier cannot be trained.
        UserError
            For errors that concern more than one case, such as a full disk.
        """
        for step in self._steps(cases, trusted or {}):
            if step == last:
                break
        return self.results

    def _steps(
        self, cases: Sequence[CaseInput], trusted: Mapping[str, CaseOutcome]
    ) -> Iterator[str]:
        self.extract_slices(cases)  # 1: axial 8-bit slices
        self.label_slices()  # 2, 3: CLIP, and the vote of neighbours
        yield "slices"

        final = raw = self.train_classifier("raw")  # 4
        cam = self.choose_cam(raw)
        yield "classifier"
        self.map(cam_step(raw, cam))  # 5, 6: CAM and region of interest
        yield "regions"

        if self.config.settings.masking.mode != "off":
            final = self.train_classifier("enhanced", masked_by="raw")  # 7, 8: adaptive masking
            cam = self.choose_cam(final)
        yield "enhanced"

        if final is not raw:
            self.map(cam_step(final, cam))
        self.map(segment_step(final.name))  # 9, 10: prompts, SAM
        self.write_labels(final.name, trusted)  # 11: back onto the scan's grid
        yield "labels"

    @property
    def results(self) -> RunResults:
        """Results so far."""
        return RunResults(
            self.config,
            tuple(self.tracker.cases),
            MappingProxyType(self.tracker.signatures),
            tuple(self._outcomes),
            dict(self.tracker.failures),
            tuple(self.tracker.notes),
            tuple(self._files_read),
            dict(self._digests),
            dict(self._seconds),
            dict(self._trials),
        )

    def map(
        self, step: CaseStep, cases: Sequence[str] | None = None, clock: str | None = None
    ) -> dict[str, StepOutput]:
        """Run a step for all cases that were not skipped, or for some of them.

        Parameters
        ----------
        clock : str, optional
            Name under which its time is recorded; default: its title.
        """
        names = self.tracker.cases if cases is None else cases
        inputs = [self._inputs[name] for name in names]
        pool = self.scan_pool if step.workers == "scans" else self.model_pool
        with self._clock(clock or step.title):
            done = run_step(step, inputs, self.config, self.tracker, pool)
        for output in done.values():
            self._files_read.extend(output.files_read)
        return done

    def extract_slices(self, cases: Sequence[CaseInput]) -> None:
        """Stage 1; cases with unusable scans or channels are skipped."""
        with self._clock(EXTRACT_SLICES.title):
            for case in sorted(cases, key=lambda case: case.name):
                self.admit(case)
        outputs = list(self.map(EXTRACT_SLICES).values())
        several = [name for name in self.tracker.cases if self._inputs[name].other_channels]
        outputs += self.map(CHECK_CHANNELS, several, clock=EXTRACT_SLICES.title).values()
        for output in outputs:
            for repair in output.value:
                self.tracker.note(repair)

    def label_slices(self) -> None:
        """Stages 2 and 3: tumour, normal or unsure, by CLIP and the majority vote."""
        prompts = clip_labels.read_text_prompts(self.config.settings.labels.prompts)
        # Fails on unknown words before any slice is labelled.
        clip_labels.class_embeddings(self.config.models.clip, prompts)
        self.map(LABEL_SLICES)
        if not self.partial:
            self.tracker.require_a_case()
            results, found = self.results, set()
            for case in results.cases:
                found |= set(sure_slices(results.arrays(case, "labels"))[1].tolist())
            clip_labels.require_both_classes(found, len(results.cases))

    def train_classifier(self, name: str, masked_by: str | None = None) -> TrainedClassifier:
        """Stage 4, or 7 and 8 if the slices are masked by the regions of an earlier classifier."""
        with self._clock(f"{name} classifier"):
            if self.partial:
                return classifier_step.load_shared_classifier(self.config, self.tracker, name)
            return classifier_step.train_or_keep(
                self.config, self.tracker, self.results, name, masked_by
            )

    def choose_cam(self, classifier: TrainedClassifier) -> CamChoice:
        """Layer and threshold of the CAM: as set, or selected by agreement with SAM on a sample."""
        config, name = self.config, classifier.name
        layers, thresholds = candidates(config.settings, config.models.backbone.layers)
        if len(layers) * len(thresholds) == 1:
            return CamChoice(layers[0], thresholds[0])
        file = config.choice_file(name)
        signature = cam_choice.choice_signature(config, classifier)
        if self.partial:
            chosen = cam_choice.read_choice(file, signature)
            if chosen is None:
                found = f"no choice of a CAM for this {name} classifier"
                raise classifier_step.not_trained_yet(file, found, name)
            return chosen
        grid = CamGrid(tuple(layers), tuple(thresholds))
        sample = self._try_on_sample(trial_step(classifier, grid))
        trial, self._trials[name] = cam_choice.choose(self.results, sample, name, grid)
        cam_choice.write_choice(file, signature, trial)
        return CamChoice(trial.layer, trial.threshold)

    def write_labels(self, classifier: str, trusted: Mapping[str, CaseOutcome]) -> None:
        """Stage 11: labels, CAMs and regions on the grids of the scans.

        Labels of `trusted` cases are left unchanged.
        """
        names = [name for name in self.tracker.cases if name not in trusted]
        written = self.map(label_step(classifier), names)
        outcomes = {one.case: one for one in failed_outcomes(self.tracker.failures)}
        for name in set(names) - outcomes.keys():
            outcomes[name] = (
                written[name].value
                if name in written
                else recorded_outcome(self.config.cache, name)
            )
        outcomes |= {name: one for name, one in trusted.items() if name in self.tracker.cases}
        self._outcomes = [outcomes[name] for name in sorted(outcomes)]

    def admit(self, case: CaseInput) -> None:
        """Add a case to the run, unless its scans cannot be read."""
        try:
            digests = {scan: scan_digest(scan) for scan in (case.scan, *case.other_channels)}
            slices_fingerprint(digests[case.scan], self.config.settings.slices, case.brain_mask)
        except ScanError as error:
            self.tracker.refuse(case.name, str(error))
            return
        self._inputs[case.name] = replace(case, digests=digests)
        self._digests |= digests
        self.tracker.cases.append(case.name)

    def _try_on_sample(self, step: CaseStep) -> list[str]:
        """Run the trials on a sample of cases; on another sample if one of them fails."""
        while True:
            sample = cam_choice.sample_cases(self.results, self.tracker.never_skipped(step.name))
            self.map(step, sample)
            if not sample or set(sample) <= set(self.tracker.cases):
                return sample

    @contextmanager
    def _clock(self, stage: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            spent = time.monotonic() - started
            self._seconds[stage] = self._seconds.get(stage, 0.0) + spent
