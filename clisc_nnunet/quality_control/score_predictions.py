"""Judge a folder of predictions: match them with their scans, ask SAM, write what it says."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from clisc_nnunet import __version__
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
# Folder in the output that keeps what SAM said of each case.
JUDGED = "judged"
NNUNET_RAW = "nnUNet_raw"


@dataclass(frozen=True)
class QualityOptions:
    """A call of the command; names as in its help."""

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
    """Empty for the one that the dataset.json of the predictions tells."""
    resume: bool = False
    command: str = ""


@dataclass(frozen=True)
class Estimate:
    """What came out: cases in the order of their ranks, and where the files are."""

    cases: list[CaseQuality]
    out: Path

    @property
    def failed(self) -> int:
        """Number of predictions that could not be judged."""
        return sum(case.status == "failed" for case in self.cases)


def estimate_quality(request: QualityOptions) -> Estimate:
    """Rank predictions by how far SAM confirms them; write CSV, JSON and HTML.

    Each judged case is kept at once, and taken over by a later call with `resume`.

    Raises
    ------
    UserError
        For anything the user can mend. A prediction that cannot be judged is set aside, unless
        none has a scan.
    """
    started = time.monotonic()
    if request.processes < 1:
        raise UserError("-np", str(request.processes), "1 or more", "give another number")
    if request.jitter.repeats < 2 or not 0 < request.jitter.amount < 1:
        found = f"{request.jitter.repeats} and {request.jitter.amount:g}"
        expected = "2 or more, and a share between 0 and 1"
        raise UserError("--repeats and --jitter", found, expected, "give other numbers")
    check_brain_masks(request.brain_masks)
    predictions = find_predictions(request.predictions)
    described = dataset_json(request.predictions)
    images = _images(request, described)
    known = {case: path for case, path in predictions.items() if case in images}
    if not known:
        raise UserError(
            request.predictions,
            f"no prediction for any scan of {request.images} ({next(iter(predictions))}, ...)",
            f"names as the scans have them ({next(iter(images))}, ...)",
            "check -i and -p, or rename the predictions",
        )
    out = request.out or request.predictions / DEFAULT_OUT
    _make_folder(out, resume=request.resume)
    device = chosen_device(request.device)
    score = load_dataset_sam(
        described,
        request.sam,
        request.looks,
        device,
        _clisc_folder(request),
        records=_records(request),
        option="--sam ",
    )

    cases = [
        CaseQuality(case, "failed", f"no scan of this name in {request.images}")
        for case in predictions.keys() - known.keys()
    ]
    judged = ScoreCache(
        ResultCache(out / JUDGED),
        score.segmenter,
        score.slices,
        request.jitter,
        request.processes,
        request.brain_masks,
        score.kept,
    )
    judged.score(images, known)
    cases += [CaseQuality(case, "failed", reason) for case, reason in judged.failures.items()]
    views = {}
    for quality, seen in judged:
        cases.append(quality)
        views[quality.case] = [view_content(view) for view in seen]
    cases = rank_cases(cases)
    facts = {
        "command": request.command,
        "clisc_nnunet": __version__,
        "sam": {"name": score.sam.name, "sha256": score.sam.sha256},
        "looks": request.looks,
        "jitter": asdict(request.jitter),
        "device": str(device),
        "cases_on_the_slices_of_their_labels": judged.on_kept_slices,
        "taken_over": judged.taken_over,
        "images_without_prediction": sorted(images.keys() - known.keys()),
        "seconds": round(time.monotonic() - started, 1),
    }
    write_text(out / "quality.csv", as_csv(cases))
    write_text(out / "quality.html", as_page(cases, views, facts))
    # The last one: where it is, the others are whole.
    write_text(out / "quality.json", as_json(cases, facts))
    return Estimate(cases, out)


def find_predictions(folder: Path) -> dict[str, Path]:
    """Predictions by case, sorted: every volume of a folder, `CASE.nii.gz` or another ending.

    Raises
    ------
    UserError
        If there is none, or more than one for a case.
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
    """The dataset.json that nnU-Net leaves beside predictions, or that of a dataset's labels.

    Its key `clisc` tells which SAM drew the pseudo-labels and how slices were cut; without the
    file the default holds.
    """
    for path in (predictions / "dataset.json", predictions.parent / "dataset.json"):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise UserError(path, str(error), "a dataset.json", "mend or remove it") from None
        if isinstance(content, dict) and content.get("clisc"):
            return content
    return {}


def _images(request: QualityOptions, described: Mapping[str, Any]) -> dict[str, Source]:
    """Scans by case: of the channel that was asked for, or else that the labels were drawn on."""
    number, names = label_channel(described), described.get("channel_names", {})
    # nnU-Net predicts from folders of these channels, so their numbers mean the same there.
    drawn_on = modality_named(str(names.get(str(number), FLAIR)))
    prompt = request.label_channel or drawn_on
    return find_label_channel_scans(request.images, request.channels, prompt, nnunet_numbers(names))


def _clisc_folder(request: QualityOptions) -> Path | None:
    """What the converter has left beside the images, if they are a dataset's training images."""
    images = request.images.absolute()
    if images.name != "imagesTr" or request.brain_masks is not None:
        return None
    return images.parent / "clisc"


def _records(request: QualityOptions) -> list[Path]:
    """Where the converter may have left `run.json`: scans or labels of a dataset, or nnUNet_raw."""
    datasets = [folder.absolute().parent for folder in (request.images, request.predictions)]
    raw = os.environ.get(NNUNET_RAW)
    try:
        plans = json.loads((request.predictions / "plans.json").read_text(encoding="utf-8"))
        if raw:
            datasets.append(Path(raw) / str(plans["dataset_name"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass  # these predictions are not nnU-Net's
    return [dataset / "clisc" for dataset in datasets]


def _make_folder(out: Path, *, resume: bool) -> None:
    """Make sure that results can be written, before hours are spent on them, and replace none."""
    if not resume and (
        (out / "quality.json").exists() or ResultCache(out / JUDGED).cases_with(f"{STAGE}.npz")
    ):
        raise UserError(
            out,
            "an earlier estimate",
            "a folder without one",
            "add --continue, which judges what is new or changed, or give another folder with -o",
        )
    try:
        write_text(out / ".written", "")
        (out / ".written").unlink()
    except OSError as error:
        hint = "choose another folder with -o"
        raise UserError(out, str(error.strerror), "a folder to write to", hint) from None
