"""One round of S3F (paper, self-learning): predict all cases, compare with SAM, select cases.

All files are first written to a folder `round_XX.part`. `round_XX.json` is written last; once it
exists, the round is complete and never repeated.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from clisc_nnunet.io.atomic_write import write_text
from clisc_nnunet.io.paths import without_folder
from clisc_nnunet.processes import peak_memory_gb
from clisc_nnunet.s3f.case_selection import CaseAgreement, Decision, decision_line, select_cases
from clisc_nnunet.s3f.dataset_sam import DatasetSam
from clisc_nnunet.s3f.similarity import (
    SamSegmentation,
    majority_vote,
    resegment,
    similarity_measures,
    soft_vote,
)
from clisc_nnunet.stages.connected_components import large_components
from clisc_nnunet.trainers.distributed import ProcessGroup
from clisc_nnunet.trainers.judges import Judge
from clisc_nnunet.trainers.relabelled_dataset import write_overlay
from clisc_nnunet.trainers.round_cases import CaseLoader, LoadedCase
from clisc_nnunet.trainers.round_figure import RoundSnapshot, draw_round
from clisc_nnunet.trainers.round_settings import RoundSettings, as_plain

# Number of least similar, and of most similar, cases in the figure of a round.
SHOWN = 4
# Smallest size of a component that counts, relative to the largest one; the paper keeps that alone.
SMALLEST_COMPONENT = {"largest": 1.0, "all": 0.05}


@dataclass(frozen=True)
class RoundFiles:
    """Identity of a round, and its files.

    Parameters
    ----------
    number : int
        From 1.
    epoch : int
        Number of epochs finished before the round.
    run : str
        Id of the training; distinguishes it from others that used the same folder.
    folder : Path
        Folder with the files of all rounds.
    """

    number: int
    epoch: int
    run: str
    folder: Path

    @property
    def name(self) -> str:
        """Base name of the files."""
        return f"round_{self.number:02d}"

    @property
    def report(self) -> Path:
        """JSON file that marks the round as complete."""
        return self.folder / f"{self.name}.json"

    @property
    def unfinished(self) -> Path:
        """Folder used until the round is complete."""
        return self.folder / f"{self.name}.part"


@dataclass(frozen=True)
class TrainingCases:
    """Cases of the training set.

    Parameters
    ----------
    names : list of str
    loader : CaseLoader
        Loads images and the labels that are currently trained on.
    trusted : frozenset of str
        Cases checked by a person.
    previously_rejected : frozenset of str
        Cases that an earlier round rejected for good.
    """

    names: list[str]
    loader: CaseLoader
    trusted: frozenset[str] = frozenset()
    previously_rejected: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Round:
    """A round to run.

    Parameters
    ----------
    files : RoundFiles
    cases : TrainingCases
    settings : RoundSettings
    predict : callable
        The judge: maps a case to the probability of tumour, float (x, y, z).
    load_sam : callable
        Loads SAM; called after the predictions, when memory is free again.
    patch_size : tuple of 2 or 3 int
        Of the plan, in its axis order.
    group : ProcessGroup
    """

    files: RoundFiles
    cases: TrainingCases
    settings: RoundSettings
    predict: Judge
    load_sam: Callable[[], DatasetSam]
    patch_size: tuple[int, ...]
    group: ProcessGroup


@dataclass(frozen=True)
class CaseRecord:
    """Results of a round for one case.

    Parameters
    ----------
    similarity : float
        The measure by which cases are ranked.
    measures : dict of name to float
        See `similarity_measures`.
    predicted_iou : float or None
        IoU predicted by SAM; None if the prediction is empty.
    volume_before_ml, volume_predicted_ml, volume_after_ml : float
        Volume of the current label, of the prediction, and of the label to train on if the case is
        kept.
    kept_slices : bool
        Whether SAM was shown the stored slices of the pseudo-label instead of slices of the
        preprocessed image.
    """

    similarity: float
    measures: dict[str, float]
    predicted_iou: float | None
    volume_before_ml: float
    volume_predicted_ml: float
    volume_after_ml: float
    kept_slices: bool
    kept: bool = True
    reason: str = ""


def run_round(due: Round) -> dict[str, Any]:
    """Run a round, or read its results if it is already complete.

    Returns
    -------
    dict
        Content of `round_XX.json`.
    """
    known = due.group.broadcast(finished_round(due.files.report, due.files.run))
    if known is not None:
        return known
    if due.group.rank == 0:
        _prepare_folders(due)
    due.group.barrier()
    started, before = time.monotonic(), peak_memory_gb()
    _predict_all(due)
    due.group.barrier()
    predicted = time.monotonic()
    dataset_sam = due.load_sam()
    records = due.group.gather(_all_agreements(due, dataset_sam))
    decisions = _decide(due, records)
    records = {case: replace(records[case], **asdict(decisions[case])) for case in records}
    _write_labels(due, decisions)
    due.group.barrier()
    compared = time.monotonic()
    facts = {
        "round": due.files.number,
        "epoch": due.files.epoch,
        "run": due.files.run,
        "settings": as_plain(due.settings),
        "sam": {"name": without_folder(dataset_sam.sam.name), "sha256": dataset_sam.sam.sha256},
        "decision": decision_line(_agreements(records), decisions),
        "seconds": {
            "predicting": round(predicted - started, 1),
            "judging": round(compared - predicted, 1),
        },
        "peak_memory_gb": {"before": before, "after": peak_memory_gb()},
        "cases": {case: asdict(record) for case, record in records.items()},
    }
    if due.group.rank == 0:
        _publish(due, facts)
    due.group.barrier()
    return due.group.broadcast(facts)


def finished_round(report: Path, run: str) -> dict[str, Any] | None:
    """Content of the report of a round, or None if this training has not completed it."""
    try:
        facts = json.loads(report.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts if facts.get("run") == run else None


def kept_cases(facts: dict[str, Any]) -> list[str]:
    """Cases to train on, from the content of `round_XX.json`."""
    return [case for case, known in facts["cases"].items() if known["kept"]]


def relabelled_cases(facts: dict[str, Any]) -> list[str]:
    """Cases with a new label, from the content of `round_XX.json`."""
    if facts["settings"]["relabel"] == "none":
        return []
    cases = facts["cases"].items()
    return [case for case, known in cases if Decision(known["kept"], known["reason"]).relabel]


def slices_note(facts: dict[str, Any]) -> str:
    """Log message about cases without stored slices; empty if there are none."""
    cases = facts["cases"].values()
    # Reports of earlier versions lack the key; they never used stored slices.
    count = sum(not known.get("kept_slices", False) for known in cases)
    if not count:
        return ""
    return (
        f"{count} of {len(cases)} cases have no matching slices of stage 1 in clisc/stages of the "
        "raw dataset; their slices were extracted again, from the preprocessed image"
    )


def _prepare_folders(due: Round) -> None:
    """Create an empty folder; rename the files of an earlier training."""
    shutil.rmtree(due.files.unfinished, ignore_errors=True)
    for path in (
        due.files.folder / due.files.name,
        due.files.report,
        due.files.folder / f"{due.files.name}.png",
    ):
        if path.exists():
            renamed = due.files.folder / f"earlier_{int(path.stat().st_mtime)}_{path.name}"
            os.replace(path, renamed)
    for part in ("predictions", "looks"):
        (due.files.unfinished / part).mkdir(parents=True)


def _progress(due: Round, task: str) -> Iterable[str]:
    cases = due.group.share(due.cases.names)
    return tqdm(cases, f"{due.files.name}: {task}", unit="case", disable=due.group.rank > 0)


def _predict_all(due: Round) -> None:
    for case in _progress(due, "predicting"):
        loaded = due.cases.loader.load(case)
        _write_probability(due, case, due.predict(loaded) * loaded.inside)


def _all_agreements(due: Round, dataset_sam: DatasetSam) -> dict[str, CaseRecord]:
    return {
        case: _case_agreement(due, dataset_sam, case)
        for case in _progress(due, "comparing with SAM")
    }


def _case_agreement(due: Round, dataset_sam: DatasetSam, case: str) -> CaseRecord:
    loaded = due.cases.loader.load(case)
    before, view = loaded.tumour, loaded.view
    probability = _read_probability(due, case)
    mask = large_components(probability > 0.5, SMALLEST_COMPONENT[due.settings.components])
    shown, shown_label = view.on_slices(mask), view.on_slices(before)
    if not shown.any():
        # Too small to appear on a slice: SAM cannot be prompted with it, and two empty masks
        # would count as perfect agreement.
        mask = np.zeros_like(mask)
    sam = resegment(dataset_sam.segmenter, case, view.stack, shown)
    measures = similarity_measures(before, mask, shown_label, shown, sam.mask)
    new = _new_label(due.settings.relabel, loaded, probability, mask, sam)
    _write_probability(due, case, new)
    snapshot = RoundSnapshot.of(view.stack.pixels, shown_label, shown, sam.mask)
    snapshot.save(due.files.unfinished / "looks" / f"{case}.npz")
    return CaseRecord(
        similarity=measures[due.settings.measure],
        measures=measures,
        predicted_iou=sam.predicted_iou if mask.any() else None,
        volume_before_ml=float(before.sum()) * view.voxel_ml,
        volume_predicted_ml=float(mask.sum()) * view.voxel_ml,
        volume_after_ml=float((new > 0.5).sum()) * view.voxel_ml,
        kept_slices=loaded.has_kept_slices,
    )


def _new_label(
    relabel: str,
    loaded: LoadedCase,
    probability: np.ndarray,
    mask: np.ndarray,
    sam: SamSegmentation,
) -> np.ndarray:
    """Probability of the label to train on; `mask` is the part of the prediction that counts."""
    before, view = loaded.tumour, loaded.view
    if relabel == "vote":
        agreed = majority_vote(before, mask, view.from_slices(sam.mask) & loaded.inside)
        return agreed.astype(np.float32)
    if relabel == "soft":
        # Parts that do not count are no tumour; around the others, the probability falls.
        judged = np.where(mask | (probability <= 0.5), probability, 0)
        by_sam = view.values_from_slices(sam.probability)
        return soft_vote(before, judged, by_sam, view.spacing) * loaded.inside
    return mask.astype(np.float32)


def _agreements(records: dict[str, CaseRecord]) -> dict[str, CaseAgreement]:
    return {
        case: CaseAgreement(
            r.similarity, empty=not r.volume_predicted_ml, was_empty=not r.volume_before_ml
        )
        for case, r in records.items()
    }


def _decide(due: Round, records: dict[str, CaseRecord]) -> dict[str, Decision]:
    return select_cases(
        _agreements(records),
        due.settings.keep_ratio,
        due.settings.min_similarity,
        due.cases.trusted,
        due.cases.previously_rejected,
    )


def _write_labels(due: Round, decisions: dict[str, Decision]) -> None:
    if due.settings.relabel == "none":
        return
    for case in due.group.share(due.cases.names):
        if decisions[case].relabel:
            seg = due.cases.loader.label(case)[None]
            soft = due.settings.relabel == "soft"
            write_overlay(
                due.files.unfinished,
                case,
                _read_probability(due, case),
                seg,
                due.patch_size,
                soft,
            )


def _publish(due: Round, facts: dict[str, Any]) -> None:
    """Move the files to their final names, and write `round_XX.json` last."""
    shutil.rmtree(due.files.unfinished / "predictions")
    final = due.files.folder / due.files.name
    os.replace(due.files.unfinished, final)
    similarity = {case: known["similarity"] for case, known in facts["cases"].items()}
    kept = {case for case, known in facts["cases"].items() if known["kept"]}
    order = sorted(similarity, key=lambda case: (similarity[case], case))
    ends = dict.fromkeys([*order[:SHOWN], *order[-SHOWN:]])
    snapshots = {case: RoundSnapshot.load(final / "looks" / f"{case}.npz") for case in ends}
    title = f"round {due.files.number}, before epoch {due.files.epoch}: {facts['decision']}"
    draw_round(similarity, kept, snapshots, title, due.files.folder / f"{due.files.name}.png")
    write_text(due.files.report, json.dumps(facts, indent=1) + "\n")


def _read_probability(due: Round, case: str) -> np.ndarray:
    """Float32 (x, y, z)."""
    with np.load(due.files.unfinished / "predictions" / f"{case}.npz") as file:
        return file["probability"].astype(np.float32)


def _write_probability(due: Round, case: str, probability: np.ndarray) -> None:
    file = due.files.unfinished / "predictions" / f"{case}.npz"
    np.savez_compressed(file, probability=probability.astype(np.float16))
