"""Apply the stages to cases: results go through the store, one case in memory at a time."""

from __future__ import annotations

import sys
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

from clisc_nnunet import classifier, masking, slice_labels
from clisc_nnunet.choice import Trial, best
from clisc_nnunet.drawing import Draughtsman
from clisc_nnunet.embeddings import EmbeddingCache
from clisc_nnunet.errors import NoTumourError, ScanError
from clisc_nnunet.executors import make_executor
from clisc_nnunet.models.trio import Models
from clisc_nnunet.models.weights import read_card
from clisc_nnunet.outcome import CaseOutcome, Status
from clisc_nnunet.pseudo_label import case_iou
from clisc_nnunet.records import Masks
from clisc_nnunet.regionwork import RegionFinder, Sample, spread
from clisc_nnunet.scanwork import DrawTask, cut_scan, draw_case, unpack_stack
from clisc_nnunet.settings import Settings
from clisc_nnunet.slices import SliceStack
from clisc_nnunet.store import Store, sign
from clisc_nnunet.volume import Source, scan_digest

# Cases and slices per case that the choice of layer and threshold looks at.
SAMPLE_CASES, SAMPLE_SLICES = 8, 10
# Slice stacks kept in memory, about 4 MB each.
REMEMBERED_STACKS = 64


@dataclass
class Casework:
    """A run over a set of cases.

    Parameters
    ----------
    models, settings, store
        What makes the pseudo-labels, and where results of stages are kept.
    device : torch.device
    processes : int
        For the work that reads and writes scans; 1 works in this process.
    given_labels : mapping of case to {plane: label}, optional
        Slice labels to use in place of CLIP's.
    other_channels, brain_masks
        Further scans by case, checked alone; folder of masks in place of extracted brains.
    overlays : Path
        Folder that receives `cam/` and `roi/` volumes.
    """

    models: Models
    settings: Settings
    store: Store
    device: torch.device
    overlays: Path
    processes: int = 1
    given_labels: Mapping[str, Mapping[int, int]] | None = None
    other_channels: Mapping[str, Sequence[Source]] = field(default_factory=dict)
    brain_masks: Path | None = None

    cases: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    files_read: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    trials: dict[str, list[Trial]] = field(default_factory=dict)
    _signatures: dict[tuple[str, str], str] = field(default_factory=dict)
    _classifiers: dict[str, Any] = field(default_factory=dict)

    def cut_slices(self, scans: Mapping[str, Source]) -> None:
        """Stage 1; a scan that cannot be used is set aside with its reason."""
        settings = self.settings.slices
        extractor = read_card("brain")["sha256"] if settings.brain == "extracted" else ""
        with self._clock("slices"), make_executor(self.processes) as executor:
            jobs = {}
            for case in sorted(scans):
                try:
                    brain = scan_digest(mask) if (mask := self._brain_file(case)) else extractor
                    signature = sign("slices", scan_digest(scans[case]), settings, brain)
                except ScanError as error:
                    self._set_aside(case, str(error))
                    continue
                self._signatures[case, "slices"] = signature
                others = self.other_channels.get(case, ())
                call = (case, scans[case], settings, self.store, signature, others, mask)
                jobs[case] = executor.submit(cut_scan, *call)
            for case, job in _track(jobs.items(), "slices"):
                result = job.result()
                self.files_read.extend(result.read)
                for repair in result.repairs:
                    tqdm.write(f"{scans[case]}: {repair}", file=sys.stderr)
                if result.failure is None:
                    self.cases.append(case)
                else:
                    self._set_aside(case, result.failure)

    def label_slices(self) -> None:
        """Stages 2 and 3: tumour, normal or unsure, by CLIP and the vote."""
        clip, settings = self.models.clip, self.settings.labels
        prompts = slice_labels.read_prompts(settings.prompts)
        classes = slice_labels.class_embeddings(clip, prompts)
        with self._clock("slice labels"):
            for case in _track(self.cases, "slice labels"):
                given = self.given_labels.get(case) if self.given_labels is not None else None
                source = [clip.sha256, prompts] if given is None else sorted(given.items())
                signature = sign("labels", self._signatures[case, "slices"], settings, source)
                make = partial(self._labels, self.stack(case), classes, given)
                self._get(case, "labels", signature, make)
        self._refuse_one_sided_labels()

    def train_classifier(self, name: str, masked_by: str | None = None) -> None:
        """Stage 4, or 7 and 8 if the slices are masked by the regions of an earlier classifier."""
        examples = [
            (case, int(plane), int(label))
            for case in self.cases
            for plane, label in zip(*self._sure_slices(case), strict=True)
        ]
        signature = sign(
            "classifier",
            self.models.backbone.sha256,
            self.settings.classifier,
            self.settings.seed,
            [self._signatures[case, "labels"] for case in self.cases],
            [self.settings.masking] if masked_by else [],
            [self._signatures[c, f"{masked_by}_regions"] for c in self.cases] if masked_by else [],
        )
        self._signatures["", name] = signature
        path = self.store.root / f"classifier_{name}.safetensors"
        with self._clock(f"{name} classifier"):
            trained = classifier.load_classifier(path, self.models.backbone, signature)
            if trained is None:
                slices = _Slices(self, examples, masked_by)
                trained = classifier.train_classifier(
                    self.models.backbone,
                    slices,
                    np.resize([label for _, _, label in examples], len(slices)),
                    self.settings.classifier,
                    self.settings.seed,
                    self.device,
                )
                classifier.save_classifier(path, trained, signature)
        self._classifiers[name] = trained.to(self.device).eval()

    def find_regions(self, name: str) -> None:
        """Stages 5 and 6: CAM of the slices that the classifier calls tumour, and their region."""
        with self._clock(f"{name} CAM"):
            layer, threshold = self._choose(name)
            finder = self._finder(name)
            for case in _track(self.cases, f"{name} CAM"):
                signature = sign(
                    "regions",
                    self._signatures["", name],
                    self._signatures[case, "slices"],
                    [layer, threshold],
                    self.settings.roi,
                )
                make = partial(finder.find, self.stack(case), layer, threshold)
                self._get(case, f"{name}_regions", signature, make)

    def segment_regions(self, name: str) -> None:
        """Stages 9 and 10: prompts from the regions of classifier `name`, masks from SAM."""
        settings, finder = self.settings, self._finder(name)
        with self._clock("SAM"):
            for case in _track(self.cases, "SAM"):
                signature = sign(
                    "masks",
                    self._signatures[case, f"{name}_regions"],
                    self.models.sam.sha256,
                    [settings.prompts, settings.sam],
                )
                self._get(
                    case,
                    "masks",
                    signature,
                    partial(finder.draw, case, self.stack(case), self.region(case, name)),
                )

    def draw_labels(
        self, name: str, scans: Mapping[str, Source], labels_folder: Path
    ) -> list[CaseOutcome]:
        """Stage 11: labels on the grid of the scans, and CAM and region beside them."""
        outcomes = {
            case: CaseOutcome(case, "failed", reason) for case, reason in self.failures.items()
        }
        with self._clock("labels"), make_executor(self.processes) as executor:
            jobs = {}
            for case in self.cases:
                task = DrawTask(
                    case=case,
                    scan=scans[case],
                    store=self.store,
                    slices=self._result(case, "slices"),
                    region=self._result(case, f"{name}_regions"),
                    masks=self._result(case, "masks"),
                    settings=self.settings.pseudo_label,
                    slice_settings=self.settings.slices,
                    label_file=labels_folder / f"{case}.nii.gz",
                    cam_file=self.overlays / "cam" / f"{case}.nii.gz",
                    roi_file=self.overlays / "roi" / f"{case}.nii.gz",
                    brain_file=self._brain_file(case),
                )
                jobs[case] = executor.submit(draw_case, task)
            for case, job in _track(jobs.items(), "labels"):
                volume, read = job.result()
                self.files_read.extend(read)
                outcomes[case] = self._outcome(case, name, volume)
        return [outcomes[case] for case in sorted(outcomes)]

    def stack(self, case: str) -> SliceStack:
        """Slices of a case."""
        return self._remembered_stack(case)

    def _result(self, case: str, stage: str) -> tuple[str, str]:
        """Stage and signature: where a result lies in the store."""
        return stage, self._signatures[case, stage]

    def arrays(self, case: str, stage: str) -> dict[str, np.ndarray]:
        """Result of a stage of this run."""
        return self.store.require(case, stage, self._signatures[case, stage])

    def _get(
        self,
        case: str,
        stage: str,
        signature: str,
        make: Callable[[], dict[str, np.ndarray]],
    ) -> None:
        self._signatures[case, stage] = signature
        self.store.get(case, stage, signature, make)

    @cached_property
    def _remembered_stack(self) -> Callable[[str], SliceStack]:
        return lru_cache(REMEMBERED_STACKS)(lambda case: unpack_stack(self.arrays(case, "slices")))

    @cached_property
    def draughtsman(self) -> Draughtsman:
        """SAM, which remembers the slices it saw last."""
        model, settings = self.models.sam, self.settings.sam
        cache = EmbeddingCache(model, settings)
        return Draughtsman(model, self.settings.prompts, settings, cache)

    def _brain_file(self, case: str) -> Path | None:
        return self.brain_masks / f"{case}.nii.gz" if self.brain_masks else None

    def _set_aside(self, case: str, reason: str) -> None:
        self.failures[case] = reason
        tqdm.write(f"set aside: {reason}", file=sys.stderr)

    def _labels(
        self, stack: SliceStack, classes: torch.Tensor, given: Mapping[int, int] | None
    ) -> dict[str, np.ndarray]:
        """Slice labels of a case: CLIP's and the vote's, or the given ones as they are."""
        planes = stack.planes_with_brain
        if given is not None:
            sure = np.array([given.get(int(plane), slice_labels.UNSURE) for plane in planes])
            probability = np.where(sure == slice_labels.UNSURE, 0.5, sure).astype(np.float32)
            voted = sure
        else:
            pixels = stack.pixels[planes]
            probability = slice_labels.tumour_probability(self.models.clip, classes, pixels)
            sure = slice_labels.sure_labels(probability, self.settings.labels)
            voted = slice_labels.vote(sure, planes, self.settings.labels)
        return {"planes": planes, "probability": probability, "label": sure, "voted": voted}

    def _sure_slices(self, case: str) -> tuple[np.ndarray, np.ndarray]:
        """Planes with a sure label after the vote, and the labels."""
        arrays = self.arrays(case, "labels")
        sure = arrays["voted"] != slice_labels.UNSURE
        return arrays["planes"][sure], arrays["voted"][sure]

    def _refuse_one_sided_labels(self) -> None:
        found = {label for case in self.cases for label in self._sure_slices(case)[1].tolist()}
        if found != {slice_labels.NORMAL, slice_labels.TUMOUR}:
            side = "tumour" if slice_labels.TUMOUR in found else "normal"
            raise NoTumourError(
                f"{len(self.cases)} usable cases",
                f"only {side} slices" if found else "no slice that CLIP is sure of",
                "slices with and without a tumour",
                "check that these are FLAIR scans of tumour patients, try other prompts "
                "(--set labels.prompts=FILE), or give --slice-labels",
            )

    def _choose(self, name: str) -> tuple[str, float]:
        """Layer and threshold of the CAM: set, or those that SAM agrees with most on a sample."""
        finder = self._finder(name)
        layers, thresholds = finder.candidates()
        if len(layers) * len(thresholds) == 1:
            return layers[0], thresholds[0]
        # Evenly over the cases in order of name, so that the order of files does not matter.
        shown = [case for case in self.cases if (self._sure_slices(case)[1] == 1).any()]
        samples = [
            Sample(case, self.stack(case), spread(self._tumour_planes(case), SAMPLE_SLICES))
            for case in spread(np.array(shown), SAMPLE_CASES).tolist()
        ]
        self.trials[name] = finder.trials(samples, layers, thresholds)
        chosen = best(self.trials[name])
        tqdm.write(
            f"{name} CAM: layer {chosen.layer}, threshold {chosen.threshold:g}: SAM agrees with it "
            f"by {chosen.agreement:.2f} and rates its own masks {chosen.predicted_iou:.2f}"
        )
        return chosen.layer, chosen.threshold

    def _tumour_planes(self, case: str) -> np.ndarray:
        planes, labels = self._sure_slices(case)
        return planes[labels == slice_labels.TUMOUR]

    def _finder(self, name: str) -> RegionFinder:
        return RegionFinder(
            self._classifiers[name], self.models, self.settings, self.draughtsman, self.device
        )

    def region(self, case: str, name: str) -> np.ndarray:
        """Region of interest of a case, bool (plane, row, column)."""
        packed = self.arrays(case, f"{name}_regions")["roi"]
        shape = self.stack(case).pixels.shape
        return np.unpackbits(packed, count=int(np.prod(shape))).reshape(shape).astype(bool)

    def _outcome(self, case: str, name: str, volume_ml: float) -> CaseOutcome:
        labels, regions = self.arrays(case, "labels"), self.arrays(case, f"{name}_regions")
        masks = self.arrays(case, "masks")
        predicted_iou = case_iou(Masks(masks["logits"], masks["predicted_iou"]))
        asked = self.settings.pseudo_label.min_case_iou
        clip_slices = int((labels["voted"] == slice_labels.TUMOUR).sum())
        drawn = (masks["logits"] > 0).any(axis=(1, 2))
        status: Status = "empty"
        if volume_ml:
            status, reason = "labelled", f"SAM drew on {int(drawn.sum())} slices"
        elif not len(regions["planes"]):
            reason = "the classifier calls no slice a tumour"
        elif not len(masks["planes"]):
            reason = "no region of interest is left"
        elif drawn.any() and predicted_iou < asked:
            reason = f"SAM is not sure of what it drew ({predicted_iou:.2f}, {asked:g} or more)"
        else:
            reason = "SAM draws nothing in the regions"
        return CaseOutcome(
            case,
            status,
            reason,
            brain_share=float(self.arrays(case, "slices")["brain_share"]),
            slices=len(labels["planes"]),
            clip_tumour_slices=clip_slices,
            classifier_tumour_slices=len(regions["planes"]),
            region_slices=len(masks["planes"]),
            label_ml=volume_ml,
            predicted_iou=predicted_iou,
            agreement=float(masks["agreement"][drawn].mean()) if drawn.any() else 0.0,
        )

    @contextmanager
    def _clock(self, stage: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - started


class _Slices(Sequence[np.ndarray]):
    """Training slices of the classifier, read from the store when they are asked for."""

    def __init__(
        self, work: Casework, examples: Sequence[tuple[str, int, int]], masked_by: str | None
    ) -> None:
        self._work, self._examples, self._masked_by = work, examples, masked_by
        self._remembered_masked = lru_cache(REMEMBERED_STACKS)(self._masked)

    def __len__(self) -> int:
        both = self._masked_by is not None and self._work.settings.masking.keep_plain
        return len(self._examples) * (2 if both else 1)

    def __getitem__(self, index: Any) -> Any:
        # With `keep_plain`, the second half repeats the examples without masking.
        case, plane, _ = self._examples[index % len(self._examples)]
        if self._masked_by is None or index >= len(self._examples):
            return self._work.stack(case).pixels[plane]
        return self._remembered_masked(case)[plane]

    def _masked(self, case: str) -> np.ndarray:
        stack, name = self._work.stack(case), str(self._masked_by)
        found = self._work.arrays(case, f"{name}_regions")
        volume = np.zeros(stack.pixels.shape, np.float32)
        volume[found["planes"]] = found["cam"] / 255.0
        return masking.mask_stack(
            stack.pixels, volume, self._work.region(case, name), self._work.settings.masking
        )


def _track(items: Any, stage: str) -> Any:
    return tqdm(items, desc=f"{stage:>15}", unit="case")
