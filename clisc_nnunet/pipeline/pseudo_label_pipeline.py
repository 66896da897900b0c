"""Apply the stages to cases: results go through the store, one case in memory at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from clisc_nnunet.errors import NoTumourError, ScanError
from clisc_nnunet.io.volume import Source, scan_digest
from clisc_nnunet.models.model_set import ModelNames, Models
from clisc_nnunet.pipeline.case_result import CaseOutcome, failed_outcomes
from clisc_nnunet.pipeline.case_tracker import CaseTracker
from clisc_nnunet.pipeline.label_step import finish_case, label_task, mismatch, recorded_outcome
from clisc_nnunet.pipeline.model_steps import (
    Bench,
    find_case_regions,
    label_case,
    segment_case,
    try_case,
)
from clisc_nnunet.pipeline.result_cache import Fingerprint, ResultCache, sign
from clisc_nnunet.pipeline.serialization import unpack_region, unpack_stack
from clisc_nnunet.pipeline.shared_steps import not_learnt_yet, read_choice, write_choice
from clisc_nnunet.pipeline.slice_step import check_channels, cut_scan, slices_fingerprint
from clisc_nnunet.processes import WorkerPool
from clisc_nnunet.settings import Settings
from clisc_nnunet.stages import adaptive_masking, classifier_training, clip_labels
from clisc_nnunet.stages.cam_selection import Trial, best, candidates, gather, spread
from clisc_nnunet.stages.classifier_training import REMEMBERED_STACKS, TrainingSlices
from clisc_nnunet.stages.slice_extraction import SliceStack

# Cases and slices per case that the choice of layer and threshold looks at.
SAMPLE_CASES, SAMPLE_SLICES = 8, 10


@dataclass
class Casework:
    """A run over a set of cases.

    Parameters
    ----------
    names, settings, store
        What makes the pseudo-labels, and where results of stages are kept.
    device : torch.device
    overlays : Path
        Folder that receives `cam/` and `roi/` volumes.
    scan_crew, model_crew : Crew
        For the work on scan files, and for that of the models; may be the same.
    given_labels : mapping of case to {plane: label}, optional
        Slice labels to use in place of CLIP's.
    share : bool
        The cases are a share of all. What is learnt from all must be there, and is taken as it is.
    retry : bool
        Try cases again that were set aside before.
    empty_labels : bool
        Cases without a tumour have a label, too.
    other_channels : mapping of case to scans, optional
        Further channels of nnU-Net; checked, not looked at.
    brain_masks : Path, optional
        Folder of `<case>.nii.gz`, which take the place of the extracted brain.
    """

    names: ModelNames
    settings: Settings
    cache: ResultCache
    device: torch.device
    overlays: Path
    scan_pool: WorkerPool
    model_pool: WorkerPool
    given_labels: Mapping[str, Mapping[int, int]] | None = None
    share: bool = False
    retry: bool = False
    empty_labels: bool = False
    other_channels: Mapping[str, Sequence[Source]] = field(default_factory=dict)
    brain_masks: Path | None = None

    outcomes: list[CaseOutcome] = field(default_factory=list)
    files_read: list[str] = field(default_factory=list)
    digests: dict[Source, str] = field(default_factory=dict)
    """Of all scans of the cases, as stage 1 has found them."""
    seconds: dict[str, float] = field(default_factory=dict)
    trials: dict[str, list[Trial]] = field(default_factory=dict)
    _chosen: dict[str, tuple[str, float]] = field(default_factory=dict)

    @cached_property
    def tracker(self) -> CaseTracker:
        """Who takes part, and what is kept of whom."""
        return CaseTracker(self.cache, self.retry)

    @property
    def cases(self) -> list[str]:
        """Cases that were not set aside, in order of name."""
        return self.tracker.cases

    @property
    def models(self) -> Models:
        """The three models, in this process."""
        return self._bench.models

    def cut_slices(self, scans: Mapping[str, Source]) -> None:
        """Stage 1; a case whose scan or other channels cannot be used is set aside."""
        with self._clock("slices"):
            jobs, checks = {}, {}
            for case in sorted(scans):
                scan, others = scans[case], self.other_channels.get(case, ())
                brain_file = self._brain_file(case)
                try:
                    digests = {source: scan_digest(source) for source in (scan, *others)}
                    fingerprint = slices_fingerprint(
                        digests[scan], self.settings.slices, brain_file
                    )
                except ScanError as error:
                    self.tracker.refuse(case, str(error))
                    continue
                self.tracker.cases.append(case)
                self.digests |= digests
                job = partial(cut_scan, case, scan, self.settings.slices, self.cache, fingerprint)
                jobs[case] = fingerprint, partial(job, brain_file)
                if others:
                    fingerprint = Fingerprint(list(digests.values()))
                    check = partial(check_channels, case, scan, others, self.cache, fingerprint)
                    checks[case] = fingerprint, check
            cut = self.tracker.run("slices", "slices", self.scan_pool, jobs)
            for case, (read, repairs) in cut.items():
                self.files_read.extend(read)
                for repair in repairs:
                    self.tracker.note(f"{scans[case]}: {repair}")
            checks = {case: checks[case] for case in self.cases if case in checks}
            for read in self.tracker.run("channels", "channels", self.scan_pool, checks).values():
                self.files_read.extend(read)

    def label_slices(self) -> None:
        """Stages 2 and 3: tumour, normal or unsure, by CLIP and the vote."""
        clip, settings = self.models.clip, self.settings.labels
        prompts = clip_labels.read_text_prompts(settings.prompts)
        clip_labels.class_embeddings(clip, prompts)  # told at once if a word is not known
        with self._clock("slice labels"):
            jobs = {}
            for case in self.cases:
                given = self.given_labels.get(case) if self.given_labels is not None else None
                slices = self.tracker.signatures[case, "slices"]
                fingerprint = (
                    Fingerprint(slices, [settings, prompts], clip.identity)
                    if given is None
                    else Fingerprint([slices, sign(sorted(given.items()))], "given labels")
                )
                job = partial(label_case, self._bench, case, slices, fingerprint, given)
                jobs[case] = fingerprint, job
            self.tracker.run("labels", "slice labels", self.model_pool, jobs)
        if not self.share:
            self.tracker.require_a_case()
            found = {label for case in self.cases for label in self._sure_slices(case)[1].tolist()}
            clip_labels.require_both_classes(found, len(self.cases))

    def train_classifier(self, name: str, masked_by: str | None = None) -> None:
        """Stage 4, or 7 and 8 if the slices are masked by the regions of an earlier classifier."""
        with self._clock(f"{name} classifier"):
            path = self._bench.classifier_file(name)
            kept = classifier_training.kept_fingerprint(path)
            if self.share:
                self._take_as_it_is(name, path, kept)
                return
            on_time = self.tracker.on_time(f"{masked_by}_regions" if masked_by else "labels")
            fingerprint = self._training_fingerprint(on_time, masked_by)
            if kept != fingerprint.text:
                fingerprint = self._training_fingerprint(self.cases, masked_by)
            self.tracker.signatures["", name] = fingerprint.signature
            if kept == fingerprint.text:
                self.tracker.note(f"{name} classifier: kept")
                return
            if kept is not None:
                self.tracker.note(f"{name} classifier: trained again ({fingerprint.changes(kept)})")
            self.tracker.forget_latecomers()
            self._train(name, masked_by, path, fingerprint)

    def choose_cam(self, name: str) -> None:
        """Layer and threshold of the CAM: set, or those that SAM agrees with most on a sample."""
        layers, thresholds = candidates(self.settings, self.models.backbone.layers)
        file = self.cache.root / f"choice_{name}.json"
        trained = self.tracker.signatures["", name]
        settings = [self.settings.cam, self.settings.roi]
        if len(layers) * len(thresholds) == 1:
            self._chosen[name] = layers[0], thresholds[0]
        elif self.share:
            chosen = read_choice(file, sign(trained, settings))
            if chosen is None:
                raise not_learnt_yet(file, f"no choice of a CAM for this {name} classifier", name)
            self._chosen[name] = chosen
        else:
            with self._clock(f"{name} choice"):
                best_one = self._choose(name, layers, thresholds)
            self._chosen[name] = best_one.layer, best_one.threshold
            write_choice(file, sign(trained, settings), best_one)

    def find_regions(self, name: str) -> None:
        """Stages 5 and 6: CAM of the slices that the classifier calls tumour, and their region."""
        layer, threshold = self._chosen[name]
        trained = self.tracker.signatures["", name]
        with self._clock(f"{name} CAM"):
            jobs = {}
            for case in self.cases:
                slices = self.tracker.signatures[case, "slices"]
                fingerprint = Fingerprint([trained, slices], [layer, threshold, self.settings.roi])
                jobs[case] = fingerprint, partial(
                    find_case_regions,
                    self._bench, name, case, slices, trained, fingerprint, layer, threshold,
                )  # fmt: skip
            self.tracker.run(f"{name}_regions", f"{name} CAM", self.model_pool, jobs)

    def segment_regions(self, name: str) -> None:
        """Stages 9 and 10: prompts from the regions of classifier `name`, masks from SAM."""
        settings, trained = self.settings, self.tracker.signatures["", name]
        with self._clock("SAM"):
            jobs = {}
            for case in self.cases:
                slices = self.tracker.signatures[case, "slices"]
                regions = self.tracker.signatures[case, f"{name}_regions"]
                asked = [settings.prompts, settings.sam, settings.pseudo_label.min_case_iou]
                fingerprint = Fingerprint(regions, asked, self.models.sam.identity)
                jobs[case] = (
                    fingerprint,
                    partial(
                        segment_case, self._bench, name, case, slices, trained, regions, fingerprint
                    ),
                )
            self.tracker.run("masks", "SAM", self.model_pool, jobs)

    def draw_labels(
        self,
        name: str,
        scans: Mapping[str, Source],
        labels_folder: Path,
        trusted: Mapping[str, CaseOutcome],
    ) -> None:
        """Stage 11: labels on the grid of the scans, and CAM and region beside them.

        Labels of `trusted` cases are a person's: they are left as they are.
        """
        with self._clock("labels"):
            tasks = {
                case: label_task(
                    self._bench,
                    case,
                    name,
                    scans[case],
                    self.tracker.signatures,
                    labels_folder,
                    self.overlays,
                    self._brain_file(case),
                )
                for case in self.cases
                if case not in trusted
            }
            jobs = {
                case: (task.fingerprint, partial(finish_case, task)) for case, task in tasks.items()
            }

            def why(case: str, fingerprint: Fingerprint) -> str | None:
                return mismatch(
                    self.cache, fingerprint, tasks[case].draw, empty_labels=self.empty_labels
                )

            drawn = self.tracker.run("label", "labels", self.scan_pool, jobs, why)
        for _, read in drawn.values():
            self.files_read.extend(read)
        outcomes = {told.case: told for told in failed_outcomes(self.tracker.failures)}
        for case in tasks.keys() - outcomes.keys():
            outcomes[case] = drawn[case][0] if case in drawn else recorded_outcome(self.cache, case)
        outcomes |= {case: told for case, told in trusted.items() if case in self.cases}
        self.outcomes = [outcomes[case] for case in sorted(outcomes)]

    def stack(self, case: str) -> SliceStack:
        """Slices of a case."""
        return self._remembered_stack(case)

    def arrays(self, case: str, stage: str) -> dict[str, np.ndarray]:
        """Result of a stage of this run."""
        return self.cache.require(case, stage, self.tracker.signatures[case, stage])

    def region(self, case: str, name: str) -> np.ndarray:
        """Region of interest of a case, bool (plane, row, column)."""
        return unpack_region(
            self.arrays(case, f"{name}_regions")["roi"], self.stack(case).pixels.shape
        )

    @cached_property
    def _bench(self) -> Bench:
        return Bench(self.cache, self.settings, self.names, str(self.device))

    @cached_property
    def _remembered_stack(self) -> Callable[[str], SliceStack]:
        return lru_cache(REMEMBERED_STACKS)(lambda case: unpack_stack(self.arrays(case, "slices")))

    def _training_fingerprint(self, cases: Sequence[str], masked_by: str | None) -> Fingerprint:
        inputs = self.tracker.signatures_of("labels", cases)
        settings: list[Any] = [self.settings.classifier, self.settings.seed]
        if masked_by:
            inputs += self.tracker.signatures_of(f"{masked_by}_regions", cases)
            settings.append(self.settings.masking)
        return Fingerprint(sign(inputs), settings, self.models.backbone.sha256)

    def _brain_file(self, case: str) -> Path | None:
        return self.brain_masks / f"{case}.nii.gz" if self.brain_masks else None

    def _train(
        self, name: str, masked_by: str | None, path: Path, fingerprint: Fingerprint
    ) -> None:
        examples = [
            (case, int(plane), int(label))
            for case in self.cases
            for plane, label in zip(*self._sure_slices(case), strict=True)
        ]
        masked = partial(self._masked, masked_by) if masked_by else None
        keep_plain = self.settings.masking.keep_plain
        slices = TrainingSlices(examples, self.stack, masked, keep_plain=keep_plain)
        trained = classifier_training.train_classifier(
            self.models.backbone,
            slices,
            np.resize([label for _, _, label in examples], len(slices)),
            self.settings.classifier,
            self.settings.seed,
            self.device,
        )
        classifier_training.save_classifier(path, trained, fingerprint)

    def _masked(self, name: str, case: str) -> np.ndarray:
        """Slices of a case without the most telling part of the regions of a classifier."""
        stack, found = self.stack(case), self.arrays(case, f"{name}_regions")
        volume = np.zeros(stack.pixels.shape, np.float32)
        volume[found["planes"]] = found["cam"] / 255.0
        region = self.region(case, name)
        return adaptive_masking.mask_stack(stack.pixels, volume, region, self.settings.masking)

    def _take_as_it_is(self, name: str, path: Path, kept: str | None) -> None:
        """A share of the cases works with the classifier that was learnt from all."""
        mine = self._training_fingerprint([], "raw" if name == "enhanced" else None)
        if kept is None:
            raise not_learnt_yet(path, f"no {name} classifier", name)
        if not mine.differs_by_inputs_alone(kept):
            raise not_learnt_yet(path, f"a classifier with {mine.changes(kept)}", name)
        self.tracker.signatures["", name] = sign(kept)

    def _sure_slices(self, case: str) -> tuple[np.ndarray, np.ndarray]:
        """Planes with a sure label after the vote, and the labels."""
        arrays = self.arrays(case, "labels")
        sure = arrays["voted"] != clip_labels.UNSURE
        return arrays["planes"][sure], arrays["voted"][sure]

    def _choose(self, name: str, layers: Sequence[str], thresholds: Sequence[float]) -> Trial:
        title, trained = f"{name} choice", self.tracker.signatures["", name]
        while True:
            # Evenly over the cases in order of name, so that the order of files does not matter.
            there = self.tracker.on_time(f"{name}_trials")
            shown = [case for case in there if (self._sure_slices(case)[1] == 1).any()]
            sample = spread(np.array(shown), SAMPLE_CASES).tolist()
            jobs = {}
            for case in sample:
                planes = spread(self._tumour_planes(case), SAMPLE_SLICES)
                slices = self.tracker.signatures[case, "slices"]
                s = self.settings
                fingerprint = Fingerprint(
                    [trained, slices, planes.tolist()],
                    [layers, thresholds, s.roi, s.prompts, s.sam.axial_only()],
                    self.models.sam.identity,
                )
                jobs[case] = fingerprint, partial(
                    try_case,
                    self._bench, name, case, slices, trained, fingerprint,
                    planes, layers, thresholds,
                )  # fmt: skip
            self.tracker.run(f"{name}_trials", title, self.model_pool, jobs)
            if not sample or set(sample) <= set(self.cases):
                break
        answers = [self.arrays(case, f"{name}_trials") for case in sample]
        if not answers:
            raise NoTumourError(
                "the slice labels",
                "no case left that shows a tumour",
                "one at least",
                "see why cases were set aside, then --retry-failed",
            )
        pairs = [(a["predicted_iou"], a["agreement"]) for a in answers]
        self.trials[name] = gather(layers, thresholds, pairs)
        chosen = best(self.trials[name])
        tqdm.write(
            f"{name} CAM: layer {chosen.layer}, threshold {chosen.threshold:g}: SAM agrees with it "
            f"by {chosen.agreement:.2f} and rates its own masks {chosen.predicted_iou:.2f}"
        )
        return chosen

    def _tumour_planes(self, case: str) -> np.ndarray:
        planes, labels = self._sure_slices(case)
        return planes[labels == clip_labels.TUMOUR]

    @contextmanager
    def _clock(self, stage: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - started


# Where a run may stop, and others go on; between them, classifiers learn from all cases together.
STEPS = ("slices", "classifier", "regions", "enhanced", "labels")
# Steps that are done case by case: several processes or machines may each take a share.
SHARED_STEPS = ("slices", "regions", "labels")


def make_pseudo_labels(
    scans: Mapping[str, Source],
    labels_folder: Path,
    work: Casework,
    trusted: Mapping[str, CaseOutcome] | None = None,
    last: str = "labels",
) -> list[CaseOutcome]:
    """Draw a pseudo-label for every scan that shows a tumour.

    Parameters
    ----------
    scans : mapping of case name to file or DICOM series
    labels_folder : Path
        Receives `<case>.nii.gz` on the grid of each scan.
    work : Casework
        Applies each stage to the cases; holds models, settings and the store, in which every
        stage's result is kept, so that a run that was stopped goes on where it was.
    trusted : mapping of case to CaseOutcome, optional
        Cases whose label is a person's, and stays.
    last : str
        One of `STEPS`: the step to stop after.

    Returns
    -------
    list of CaseOutcome
        One per scan, in order of name; none unless the last step is `labels`.

    Raises
    ------
    NoTumourError
        If CLIP finds tumours in no slice, or in every one: there is nothing to learn from.
    """
    for step in _steps(scans, labels_folder, work, trusted or {}):
        if step == last:
            break
    return work.outcomes


def _steps(
    scans: Mapping[str, Source],
    labels_folder: Path,
    work: Casework,
    trusted: Mapping[str, CaseOutcome],
) -> Iterator[str]:
    """Work, and say which step is done."""
    work.cut_slices(scans)  # 1: axial 8-bit slices
    work.label_slices()  # 2, 3: CLIP, and the vote of neighbours
    yield "slices"

    work.train_classifier("raw")  # 4
    work.choose_cam("raw")
    yield "classifier"
    work.find_regions("raw")  # 5, 6: CAM and region of interest
    yield "regions"

    name = "raw"
    if work.settings.masking.mode != "off":
        name = "enhanced"
        work.train_classifier(name, masked_by="raw")  # 7, 8: adaptive masking
        work.choose_cam(name)
    yield "enhanced"

    if name == "enhanced":
        work.find_regions(name)
    work.segment_regions(name)  # 9, 10: prompts, SAM
    work.draw_labels(name, scans, labels_folder, trusted)  # 11: back onto the scan's grid
    yield "labels"
