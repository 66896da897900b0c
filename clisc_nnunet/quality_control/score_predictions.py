"""Score a folder of predictions: match them with scans, compare with SAM, write the results."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from clisc_nnunet import __version__
from clisc_nnunet.dataset_layout import DatasetLayout, phantoms_beside
from clisc_nnunet.errors import UserError
from clisc_nnunet.inputs.channels import FLAIR, modality_named, nnunet_numbers
from clisc_nnunet.inputs.find_cases import find_label_channel_scans, scan_ending
from clisc_nnunet.io.atomic_write import write_text
from clisc_nnunet.io.volume import Source
from clisc_nnunet.models.device import chosen_device
from clisc_nnunet.pipeline.result_cache import ResultCache
from clisc_nnunet.quality_control.prediction_scores import CaseQuality, rank_cases
from clisc_nnunet.quality_control.prompt_stability import JitterSettings
from clisc_nnunet.quality_control.quality_page import as_csv, as_json, as_page, view_content
from clisc_nnunet.quality_control.score_cache import STAGE, ScoreCache
from clisc_nnunet.s3f.dataset_sam import label_channel, load_dataset_sam
from clisc_nnunet.s3f.similarity import SamPasses
from clisc_nnunet.stages.brain_extraction import check_brain_masks

DEFAULT_OUT = "quality"
# Folder in the output with the scores of each case.
SCORES_FOLDER = "judged"
NNUNET_RAW = "nnUNet_raw"


@dataclass(frozen=True)
class QualityOptions:
    """Options of `clisc_estimate_quality`; names as in its help."""

    images: Path
    predictions: Path
    out: Path | None = None
    sam: str = ""
    looks: SamPasses = "all"
    jitter: JitterSettings = field(default_factory=JitterSettings)
    device: str | None = None
    processes: int = 2
    brain_masks: Path | None = None
    channels: tuple[str, ...] = ()
    label_channel: str = ""
    """Empty: the channel recorded in the dataset.json of the predictions."""
    resume: bool = False
    command: str = ""


@dataclass(frozen=True)
class Estimate:
    """Cases ordered by rank, and the output folder."""

    cases: list[CaseQuality]
    out: Path

    @property
    def failed(self) -> int:
        """Number of predictions that could not be scored."""
        return sum(case.status == "failed" for case in self.cases)


def estimate_quality(options: QualityOptions) -> Estimate:
    """Rank predictions by their agreement with SAM; write CSV, JSON and HTML.

    Each score is saved immediately, and reused by a later call with `resume`.

    Raises
    ------
    UserError
        For invalid options or input, and if no prediction has a scan. Single predictions that
        cannot be scored are skipped.
    """
    started = time.monotonic()
    if options.processes < 1:
        raise UserError("-np", str(options.processes), "1 or more", "change -np")
    if options.jitter.repeats < 2 or not 0 < options.jitter.amount < 1:
        found = f"{options.jitter.repeats} and {options.jitter.amount:g}"
        expected = "2 or more, and a fraction between 0 and 1"
        raise UserError("--repeats and --jitter", found, expected, "change them")
    check_brain_masks(options.brain_masks)
    predictions = find_predictions(options.predictions)
    described = dataset_json(options.predictions)
    phantoms = phantoms_beside(options.images)
    scans = _images(options, described)
    images = {case: scan for case, scan in scans.items() if case not in phantoms}
    known = {case: path for case, path in predictions.items() if case in images}
    if not known:
        raise UserError(
            options.predictions,
            f"no prediction for any scan of {options.images} ({next(iter(predictions))}, ...)",
            f"names that match the scans ({next(iter(images))}, ...)",
            "check -i and -p, or rename the predictions",
        )
    out = options.out or options.predictions / DEFAULT_OUT
    _make_folder(out, resume=options.resume)
    device = chosen_device(options.device)
    dataset_sam = load_dataset_sam(
        described,
        options.sam,
        options.looks,
        device,
        _clisc_folder(options),
        records=_records(options),
        option="--sam ",
    )

    cases = [
        CaseQuality(case, "failed", f"no scan of this name in {options.images}")
        for case in predictions.keys() - known.keys() - phantoms
    ]
    scores = ScoreCache(
        ResultCache(out / SCORES_FOLDER),
        dataset_sam.segmenter,
        dataset_sam.slices,
        options.jitter,
        options.processes,
        options.brain_masks,
        dataset_sam.kept,
    )
    scores.score(images, known)
    cases += [CaseQuality(case, "failed", reason) for case, reason in scores.failures.items()]
    views = {}
    for quality, seen in scores:
        cases.append(quality)
        views[quality.case] = [view_content(view) for view in seen]
    cases = rank_cases(cases)
    facts = {
        "command": options.command,
        "clisc_nnunet": __version__,
        "sam": {"name": dataset_sam.sam.name, "sha256": dataset_sam.sam.sha256},
        "looks": options.looks,
        "jitter": asdict(options.jitter),
        "device": str(device),
        "cases_on_the_slices_of_their_labels": scores.on_stored_slices,
        "taken_over": scores.reused,
        "phantoms_not_scored": len(phantoms),
        "images_without_prediction": sorted(images.keys() - known.keys()),
        "seconds": round(time.monotonic() - started, 1),
    }
    write_text(out / "quality.csv", as_csv(cases))
    write_text(out / "quality.html", as_page(cases, views, facts))
    # Written last: if it exists, the other files are complete.
    write_text(out / "quality.json", as_json(cases, facts))
    return Estimate(cases, out)


def find_predictions(folder: Path) -> dict[str, Path]:
    """Find all volumes of a folder by case, sorted: `CASE.nii.gz` or another image format.

    Raises
    ------
    UserError
        If there is none, or more than one per case.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise UserError(folder, found, "a folder of predictions", "check -p")
    predictions: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        ending = scan_ending(path)
        if ending is None or path.name.startswith(".") or not path.is_file():
            continue
        case = path.name[: -len(ending)]
        if case in predictions:
            both = f"two predictions for {case} ({predictions[case].name}, {path.name})"
            raise UserError(folder, both, "one", "remove one of them")
        predictions[case] = path
    if not predictions:
        raise UserError(folder, "no prediction", "CASE.nii.gz", "check -p")
    return predictions


def dataset_json(predictions: Path) -> Mapping[str, Any]:
    """Content of the dataset.json of predictions (copied by nnU-Net) or of a dataset's labels.

    Its key `clisc` records the SAM and the slice settings of the pseudo-labels. Empty without the
    file or the key, which means the defaults.
    """
    for path in (predictions / "dataset.json", predictions.parent / "dataset.json"):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise UserError(path, str(error), "a dataset.json", "fix or remove it") from None
        if isinstance(content, dict) and content.get("clisc"):
            return content
    return {}


def _images(options: QualityOptions, described: Mapping[str, Any]) -> dict[str, Source]:
    """Scans by case, of the requested channel or else of the one used for the labels."""
    number, names = label_channel(described), described.get("channel_names", {})
    # In folders for nnU-Net prediction, the same channel numbers apply.
    drawn_on = modality_named(str(names.get(str(number), FLAIR)))
    prompt = options.label_channel or drawn_on
    return find_label_channel_scans(options.images, options.channels, prompt, nnunet_numbers(names))


def _clisc_folder(options: QualityOptions) -> Path | None:
    """`clisc` folder of the dataset, if the images are its training images."""
    images = options.images.absolute()
    dataset = DatasetLayout(images.parent)
    if images != dataset.images or options.brain_masks is not None:
        return None
    return dataset.clisc


def _records(options: QualityOptions) -> list[Path]:
    """Folders that may contain `run.json`: of the scans' or labels' dataset, or in nnUNet_raw."""
    datasets = [folder.absolute().parent for folder in (options.images, options.predictions)]
    raw = os.environ.get(NNUNET_RAW)
    try:
        plans = json.loads((options.predictions / "plans.json").read_text(encoding="utf-8"))
        if raw:
            datasets.append(Path(raw) / str(plans["dataset_name"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not predicted by nnU-Net
    return [DatasetLayout(dataset).clisc for dataset in datasets]


def _make_folder(out: Path, *, resume: bool) -> None:
    """Check that results can be written and that none would be replaced."""
    if not resume and (
        (out / "quality.json").exists()
        or ResultCache(out / SCORES_FOLDER).cases_with(f"{STAGE}.npz")
    ):
        raise UserError(
            out,
            "an earlier estimate",
            "a folder without one",
            "use --continue to score new or changed predictions, or another folder with -o",
        )
    try:
        write_text(out / ".written", "")
        (out / ".written").unlink()
    except OSError as error:
        hint = "choose another folder with -o"
        raise UserError(out, str(error.strerror), "a writable folder", hint) from None
