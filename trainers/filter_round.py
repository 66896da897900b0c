"""One round of S3F (paper, self-learning): predict all cases, then judge all, then decide.

Everything is written into a folder `round_XX.part` first. `round_XX.json` comes last: where it is,
the round is whole, and it is never repeated.
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
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from tqdm import tqdm

from clisc_nnunet.io.atomic_write import write_text
from clisc_nnunet.io.paths import without_folder
from clisc_nnunet.metrics import dice
from clisc_nnunet.processes import peak_memory_gb
from clisc_nnunet.s3f.case_selection import CaseAgreement, Decision, decision_line, select_cases
from clisc_nnunet.s3f.dataset_sam import DatasetSam
from clisc_nnunet.s3f.similarity import answer, vote
from clisc_nnunet.stages.connected_components import large_components
from clisc_nnunet.trainers.case_lists import CaseLists
from clisc_nnunet.trainers.distributed import ProcessGroup
from clisc_nnunet.trainers.preprocessed_case import PreprocessedCase, scan_geometry
from clisc_nnunet.trainers.relabelled_dataset import TUMOUR_LABEL, write_overlay
from clisc_nnunet.trainers.round_figure import RoundSnapshot, draw_round
from clisc_nnunet.trainers.round_settings import RoundSettings, as_plain

# A round's picture shows so many of the worst and of the best cases.
SHOWN = 4
# Share of the largest component that others need to stay: none does (paper).
LARGEST_ALONE = 1.0


@dataclass(frozen=True)
class Round:
    """A round that is due.

    Parameters
    ----------
    number : int
        From 1.
    epoch : int
        Epochs finished so far.
    run : str
        Tells this training from others that used the same folder.
    folder : Path
        Where rounds are kept.
    cases : list of str
        All cases of the training set.
    dataset : nnUNetBaseDataset
        Gives their images and the labels they have been learnt with so far.
    predict : callable
        From data, float32 (channel, x, y, z), to the tumour's mask, bool (x, y, z).
    judge : callable
        Loads the judge, once the predictions are done and the memory is free.
    """

    number: int
    epoch: int
    run: str
    folder: Path
    cases: list[str]
    dataset: nnUNetBaseDataset
    predict: Callable[[np.ndarray], np.ndarray]
    dataset_sam: Callable[[], DatasetSam]
    settings: RoundSettings
    lists: CaseLists
    barred: frozenset[str]
    transpose_backward: tuple[int, ...]
    patch: tuple[int, ...]
    group: ProcessGroup

    @property
    def name(self) -> str:
        """Name of the round's files."""
        return f"round_{self.number:02d}"

    @property
    def report(self) -> Path:
        """File that says that the round is whole."""
        return self.folder / f"{self.name}.json"

    @property
    def unfinished(self) -> Path:
        """Folder of a round that is not whole."""
        return self.folder / f"{self.name}.part"


@dataclass(frozen=True)
class CaseRecord:
    """What a round found out about a case.

    Parameters
    ----------
    similarity : float
        By which it was ranked.
    measures : dict of name to float
        Dice of prediction and SAM's answer (`sam`), of the label before and the prediction
        (`label`) or the answer (`answer`), and the mean of the last two (`support`).
    predicted_iou : float or None
        SAM's own estimate; None where the prediction is empty.
    volume_before_ml, volume_predicted_ml, volume_after_ml : float
        Of the label before, of the prediction's largest component, and of the label that a kept
        case learns from.
    kept_slices : bool
        SAM saw the slices that the label was drawn on, not some cut of the preprocessed image.
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
    """Hold a round, or read what it decided where it is whole already.

    Returns
    -------
    dict
        Content of `round_XX.json`.
    """
    known = due.group.from_first(finished_round(due.report, due.run))
    if known is not None:
        return known
    if due.group.rank == 0:
        _clear_the_way(due)
    due.group.wait()
    started, before = time.monotonic(), peak_memory_gb()
    _predict_all(due)
    due.group.wait()
    predicted = time.monotonic()
    dataset_sam = due.dataset_sam()
    records = due.group.gathered(_all_agreements(due, dataset_sam))
    decisions = _verdicts(due, records)
    records = {case: replace(records[case], **asdict(decisions[case])) for case in records}
    _write_labels(due, records)
    due.group.wait()
    agreements = time.monotonic()
    facts = {
        "round": due.number,
        "epoch": due.epoch,
        "run": due.run,
        "settings": as_plain(due.settings),
        "sam": {"name": without_folder(dataset_sam.sam.name), "sha256": dataset_sam.sam.sha256},
        "decision": decision_line(_agreements(records), decisions),
        "seconds": {
            "predicting": round(predicted - started, 1),
            "judging": round(agreements - predicted, 1),
        },
        "peak_memory_gb": {"before": before, "after": peak_memory_gb()},
        "cases": {case: asdict(record) for case, record in records.items()},
    }
    if due.group.rank == 0:
        _publish(due, facts)
    due.group.wait()
    return due.group.from_first(facts)


def finished_round(report: Path, run: str) -> dict[str, Any] | None:
    """What a round of this training decided, or None where it is not whole."""
    try:
        facts = json.loads(report.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts if facts.get("run") == run else None


def kept_cases(facts: dict[str, Any]) -> list[str]:
    """Cases to train on, by the content of `round_XX.json`."""
    return [case for case, known in facts["cases"].items() if known["kept"]]


def relabelled(facts: dict[str, Any]) -> list[str]:
    """Cases that learn from a new label, by the content of `round_XX.json`."""
    if facts["settings"]["relabel"] == "none":
        return []
    cases = facts["cases"].items()
    return [case for case, known in cases if known["kept"] and known["reason"] != "trusted"]


def slices_line(facts: dict[str, Any]) -> str:
    """For the log: which slices SAM saw, where they were not all those of the labels; or empty."""
    cases = facts["cases"].values()
    # Rounds of an earlier version knew no others.
    anew = sum(not known.get("kept_slices", False) for known in cases)
    if not anew:
        return ""
    return (
        f"{anew} of {len(cases)} cases have no slices of stage 1 that fit in clisc/stages of the "
        "raw dataset; SAM saw them as the preprocessed image shows them, the brain found anew"
    )


def _clear_the_way(due: Round) -> None:
    """Start from an empty folder; rounds of an earlier training go aside, they are not ours."""
    shutil.rmtree(due.unfinished, ignore_errors=True)
    for path in (due.folder / due.name, due.report, due.folder / f"{due.name}.png"):
        if path.exists():
            aside = due.folder / f"earlier_{int(path.stat().st_mtime)}_{path.name}"
            os.replace(path, aside)
    for part in ("predictions", "looks"):
        (due.unfinished / part).mkdir(parents=True)


def _shown(due: Round, doing: str) -> Iterable[str]:
    cases = due.group.share(due.cases)
    return tqdm(cases, f"{due.name}: {doing}", unit="case", disable=due.group.rank > 0)


def _predict_all(due: Round) -> None:
    for case in _shown(due, "predicting"):
        data, seg, _, _ = due.dataset.load_case(case)
        mask = due.predict(np.asarray(data[:])) & (np.asarray(seg[:])[0] >= 0)
        _write_mask(due, case, mask)


def _all_agreements(due: Round, dataset_sam: DatasetSam) -> dict[str, CaseRecord]:
    return {case: _case_agreement(due, dataset_sam, case) for case in _shown(due, "judging")}


def _case_agreement(due: Round, dataset_sam: DatasetSam, case: str) -> CaseRecord:
    data, seg, _, properties = due.dataset.load_case(case)
    label = np.asarray(seg[:])[0]
    before = label == TUMOUR_LABEL
    kept = None
    if dataset_sam.kept is not None:
        kept = dataset_sam.kept.find(case, scan_geometry(properties, due.transpose_backward))
    seen = PreprocessedCase(
        np.asarray(data[dataset_sam.channel]),
        label >= 0,
        properties,
        due.transpose_backward,
        dataset_sam.slices,
        kept,
    )

    mask = large_components(_read_mask(due, case), LARGEST_ALONE)
    shown, shown_label = seen.on_slices(mask), seen.on_slices(before)
    if not shown.any():
        # A speck that no slice shows: SAM cannot be asked about it, and an empty answer to an
        # empty mask would look like agreement.
        mask = np.zeros_like(mask)
    sam = answer(dataset_sam.segmenter, case, seen.stack, shown)
    by_label = dice(before, mask, both_empty=1.0)
    by_answer = dice(shown_label, sam.mask, both_empty=1.0)
    measures = {
        "sam": dice(sam.mask, shown, both_empty=1.0),
        "label": by_label,
        "answer": by_answer,
        "support": (by_label + by_answer) / 2,
    }
    new = mask
    if due.settings.relabel == "vote":
        new = vote(before, mask, seen.from_slices(sam.mask) & (label >= 0))
    _write_mask(due, case, new)
    look = RoundSnapshot.of(seen.stack.pixels, shown_label, shown, sam.mask)
    look.save(due.unfinished / "looks" / f"{case}.npz")
    return CaseRecord(
        similarity=measures[due.settings.measure],
        measures=measures,
        predicted_iou=sam.predicted_iou if mask.any() else None,
        volume_before_ml=float(before.sum()) * seen.voxel_ml,
        volume_predicted_ml=float(mask.sum()) * seen.voxel_ml,
        volume_after_ml=float(new.sum()) * seen.voxel_ml,
        kept_slices=kept is not None,
    )


def _agreements(records: dict[str, CaseRecord]) -> dict[str, CaseAgreement]:
    return {
        case: CaseAgreement(
            r.similarity, empty=not r.volume_predicted_ml, was_empty=not r.volume_before_ml
        )
        for case, r in records.items()
    }


def _verdicts(due: Round, records: dict[str, CaseRecord]) -> dict[str, Decision]:
    return select_cases(
        _agreements(records),
        due.settings.keep_ratio,
        due.settings.min_similarity,
        due.lists.trusted,
        due.barred,
    )


def _write_labels(due: Round, records: dict[str, CaseRecord]) -> None:
    if due.settings.relabel == "none":
        return
    for case in due.group.share(due.cases):
        if records[case].kept and records[case].reason != "trusted":
            seg = np.asarray(due.dataset.load_case(case)[1][:])
            write_overlay(due.unfinished, case, _read_mask(due, case), seg, due.patch)


def _publish(due: Round, facts: dict[str, Any]) -> None:
    """Let the finished round appear, `round_XX.json` last."""
    shutil.rmtree(due.unfinished / "predictions")
    final = due.folder / due.name
    os.replace(due.unfinished, final)
    similarity = {case: known["similarity"] for case, known in facts["cases"].items()}
    kept = {case for case, known in facts["cases"].items() if known["kept"]}
    order = sorted(similarity, key=lambda case: (similarity[case], case))
    ends = dict.fromkeys([*order[:SHOWN], *order[-SHOWN:]])
    looks = {case: RoundSnapshot.load(final / "looks" / f"{case}.npz") for case in ends}
    title = f"round {due.number}, before epoch {due.epoch}: {facts['decision']}"
    draw_round(similarity, kept, looks, title, due.folder / f"{due.name}.png")
    write_text(due.report, json.dumps(facts, indent=1) + "\n")


def _read_mask(due: Round, case: str) -> np.ndarray:
    with np.load(due.unfinished / "predictions" / f"{case}.npz") as file:
        shape = tuple(int(n) for n in file["shape"])
        packed = np.unpackbits(file["mask"], count=int(np.prod(shape)))
    return packed.reshape(shape).astype(bool)


def _write_mask(due: Round, case: str, mask: np.ndarray) -> None:
    file = due.unfinished / "predictions" / f"{case}.npz"
    np.savez_compressed(file, mask=np.packbits(mask), shape=np.array(mask.shape))
