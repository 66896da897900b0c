"""The whole conversion: find scans, load models, run the pipeline, write the dataset."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from clisc_nnunet import __version__
from clisc_nnunet.casework import Casework
from clisc_nnunet.dataset_conversion.inputs import chosen_channels, chosen_input, describe
from clisc_nnunet.dataset_conversion.layouts import InputFolder
from clisc_nnunet.dataset_conversion.nnunet_dataset import (
    CLISC_FOLDER,
    FILE_ENDING,
    dataset_folder,
    describe_next_commands,
    place_case,
    write_dataset_json,
)
from clisc_nnunet.dataset_conversion.slice_label_table import read_slice_labels, slice_label_table
from clisc_nnunet.errors import NoTumourError, UserError
from clisc_nnunet.memory import peak_memory_gb
from clisc_nnunet.models.backbones import load_backbone
from clisc_nnunet.models.clip_models import load_clip
from clisc_nnunet.models.registry import BUNDLED_NAME
from clisc_nnunet.models.sam_models import load_sam
from clisc_nnunet.models.trio import Models
from clisc_nnunet.models.weights import read_card
from clisc_nnunet.outcome import CaseOutcome, summary, to_csv
from clisc_nnunet.pipeline import make_pseudo_labels
from clisc_nnunet.report.overview import overview
from clisc_nnunet.settings import Settings, preset, read_settings, updated
from clisc_nnunet.store import Store, write_text

# What `--models` stands for: CLIP, SAM, backbone of the classifier.
MODEL_SETS = {
    "bundled": ("bundled", "bundled", "bundled"),
    "paper": ("ViT-B-32", "sam_vit_b", "resnet50"),
}


@dataclass(frozen=True)
class Request:
    """A call of the command; names as in its help."""

    scans: Path
    dataset_id: int
    name: str = "CLISC"
    root: Path | None = None
    models: str = "bundled"
    clip: str | None = None
    sam: str | None = None
    classifier: str | None = None
    preset: str = "default"
    settings_file: Path | None = None
    options: tuple[str, ...] = ()
    slice_labels: Path | None = None
    device: str | None = None
    processes: int = 2
    copy: bool = False
    keep_empty: bool = False
    resume: bool = False
    channels: tuple[str, ...] = ()
    prompt_channel: str = "flair"
    cases: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    brain_masks: Path | None = None
    command: str = ""


@dataclass(frozen=True)
class Conversion:
    """What a conversion came to."""

    folder: Path
    outcomes: tuple[CaseOutcome, ...]
    text: str
    """Table and next commands, for the screen."""

    @property
    def failed(self) -> int:
        """Number of cases that failed."""
        return sum(outcome.status == "failed" for outcome in self.outcomes)


def convert(request: Request) -> Conversion:
    """Turn a folder of unlabelled scans into an nnU-Net raw dataset.

    Raises
    ------
    UserError
        For anything the user can mend; an existing dataset is left as it was.
    """
    started = time.monotonic()
    settings = chosen_settings(request)
    if request.processes < 1:
        raise UserError("-np", str(request.processes), "1 or more", "give another number")
    prompt = request.prompt_channel.lower()
    channels = chosen_channels(request.channels, prompt)
    found = chosen_input(request.scans, channels, prompt, request.cases, request.leave_out)
    print(describe(found, prompt), flush=True)
    if request.brain_masks and not request.brain_masks.is_dir():
        raise UserError(request.brain_masks, "no such folder", "brain masks", "check the path")
    given = read_slice_labels(request.slice_labels) if request.slice_labels else None
    device = chosen_device(request.device)
    models = load_models(request, device)
    folder = dataset_folder(request.dataset_id, request.name, request.root, resume=request.resume)
    clisc = folder / CLISC_FOLDER
    write_text(clisc / "settings.json", settings.to_json() + "\n")

    work = Casework(
        models,
        settings,
        Store(clisc / "stages"),
        device,
        clisc,
        request.processes,
        given,
        {c.name: [s for s in c.channels if s != c.image] for c in found.cases},
        request.brain_masks,
        failures={name: str(fault) for name, fault in found.faults},
    )
    scans = {case.name: case.image for case in found.cases}
    outcomes = make_pseudo_labels(scans, folder / "labelsTr", work)
    write_text(clisc / "cases.csv", to_csv(outcomes))
    write_text(clisc / "slice_labels.csv", slice_label_table(work))
    if not any(outcome.status == "labelled" for outcome in outcomes):
        raise NoTumourError(
            request.scans,
            f"no tumour in any of {len(outcomes)} cases",
            "at least one pseudo-label",
            f"see {clisc / 'cases.csv'}",
        )
    kept = [
        o.case
        for o in outcomes
        if o.status in ("labelled", "empty" if request.keep_empty else "labelled")
    ]
    for case in sorted(scans.keys() - set(kept)):
        (folder / "labelsTr" / f"{case}{FILE_ENDING}").unlink(missing_ok=True)
        for image in range(len(channels)):
            (folder / "imagesTr" / f"{case}_{image:04d}{FILE_ENDING}").unlink(missing_ok=True)
    sources = {case.name: case for case in found.cases}
    for case in kept:
        place_case(sources[case].channels, scans[case], case, folder, copy=request.copy)
    names = [channel.name for channel in channels]
    write_dataset_json(
        folder,
        n_cases=len(kept),
        clisc={**trainer_key(models, settings), "prompt_channel": names.index(prompt)},
        channel_names=[channel.displayed for channel in channels],
        overwrite=True,
    )
    overview(work, outcomes, clisc / "overview.png")
    text = summary(outcomes, work.seconds)
    record = run_record(request, work, found, time.monotonic() - started)
    write_text(clisc / "run.json", json.dumps(record, indent=1) + "\n")
    text += f"\npeak memory {record['peak_memory_gb']:.1f} GB; dataset {folder}\n"
    text += describe_next_commands(request.dataset_id)
    return Conversion(folder, tuple(outcomes), text)


def chosen_settings(request: Request) -> Settings:
    """Preset or settings file, then the single options."""
    settings = (
        read_settings(request.settings_file) if request.settings_file else preset(request.preset)
    )
    for option in request.options:
        path, _, text = option.partition("=")
        *stage, name = path.split(".")
        try:
            value: Any = json.loads(text)
        except json.JSONDecodeError:
            value = text
        values = {name: value}
        for key in reversed(stage):
            values = {key: values}
        settings = updated(settings, values, f"--set {option}")
    return settings


def chosen_device(name: str | None) -> torch.device:
    """Device by name; by default a GPU if there is one."""
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name is None:
        name = "cuda" if there["cuda"] else "cpu"
    if not there[name]:
        raise UserError(
            "-device",
            f"{name}, which torch does not see here",
            "a device of this computer",
            "take -device cpu",
        )
    return torch.device(name)


def load_models(request: Request, device: torch.device) -> Models:
    """The three models of a request."""
    clip, sam, backbone = MODEL_SETS[request.models]
    return Models(
        load_clip(request.clip or clip, device),
        load_sam(request.sam or sam, device),
        load_backbone(request.classifier or backbone),
    )


def trainer_key(models: Models, settings: Settings) -> dict[str, Any]:
    """What the trainer needs to judge with the same SAM; goes into dataset.json."""
    return {
        "version": __version__,
        "sam": {"name": models.sam.name, "sha256": models.sam.sha256},
        "settings": json.loads(settings.to_json()),
    }


def run_record(
    request: Request, work: Casework, found: InputFolder, seconds: float
) -> dict[str, Any]:
    """How the dataset came about, for `run.json`."""
    packages = ("torch", "open_clip_torch", "segment_anything", "grad-cam", "SimpleITK", "nnunetv2")
    extractor = {}
    if work.settings.slices.brain == "extracted":
        extractor = {"brain": {"name": BUNDLED_NAME, "sha256": read_card("brain")["sha256"]}}
    return {
        "command": request.command,
        "clisc_nnunet": __version__,
        "versions": {name: version(name) for name in packages},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {work.device}",
        "layout": found.layout,
        "channels": list(found.channels),
        "models": {
            role: {"name": model.name, "sha256": model.sha256}
            for role, model in (
                ("clip", work.models.clip),
                ("sam", work.models.sam),
                ("classifier", work.models.backbone),
            )
        }
        | extractor,
        "seed": work.settings.seed,
        "files_read": sorted(set(work.files_read)),
        "choice": {
            name: [{**asdict(t), "score": t.score} for t in trials]
            for name, trials in work.trials.items()
        },
        "seconds": {
            **{k: round(v, 1) for k, v in work.seconds.items()},
            "total": round(seconds, 1),
        },
        "peak_memory_gb": peak_memory_gb(),
    }
