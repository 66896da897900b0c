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
from clisc_nnunet.dataset_conversion.layouts import InputFolder, find_cases
from clisc_nnunet.dataset_conversion.nnunet_dataset import (
    CLISC_FOLDER,
    FILE_ENDING,
    dataset_folder,
    describe_next_commands,
    place_image,
    write_dataset_json,
    write_image_with_zero_background,
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
from clisc_nnunet.report.report_page import write_report
from clisc_nnunet.report.sidecar import write_sidecars
from clisc_nnunet.settings import Settings, preset, read_settings, updated
from clisc_nnunet.slices import background_value
from clisc_nnunet.store import Store, write_text
from clisc_nnunet.volume import read_volume

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
    found = find_cases(request.scans)
    print(_describe(found), flush=True)
    given = read_slice_labels(request.slice_labels) if request.slice_labels else None
    device = chosen_device(request.device)
    models = load_models(request, device)
    folder = dataset_folder(request.dataset_id, request.name, request.root, resume=request.resume)
    clisc = folder / CLISC_FOLDER
    write_text(clisc / "settings.json", settings.to_json() + "\n")

    work = Casework(
        models, settings, Store(clisc / "stages"), device, clisc, request.processes, given
    )
    scans = {case.name: case.image for case in found.cases}
    outcomes = make_pseudo_labels(scans, folder / "labelsTr", work)
    write_text(clisc / "cases.csv", to_csv(outcomes))
    write_text(clisc / "slice_labels.csv", slice_label_table(work))
    # Before a run without any tumour ends: there it is needed most.
    overview(work, outcomes, clisc / "overview.png")
    record = run_record(request, work, found, time.monotonic() - started)
    write_report(work, outcomes, record, clisc / "report.html")
    if not any(outcome.status == "labelled" for outcome in outcomes):
        raise NoTumourError(
            request.scans,
            f"no tumour in any of {len(outcomes)} cases",
            "at least one pseudo-label",
            f"see {clisc / 'report.html'}",
        )
    kept = [
        o.case
        for o in outcomes
        if o.status in ("labelled", "empty" if request.keep_empty else "labelled")
    ]
    for case in sorted(scans.keys() - set(kept)):
        (folder / "labelsTr" / f"{case}{FILE_ENDING}").unlink(missing_ok=True)
        (folder / "imagesTr" / f"{case}_0000{FILE_ENDING}").unlink(missing_ok=True)
    for case in kept:
        place_scan(scans[case], folder / "imagesTr" / f"{case}_0000{FILE_ENDING}", request.copy)
    write_dataset_json(
        folder, n_cases=len(kept), clisc=trainer_key(models, settings), overwrite=True
    )
    text = summary(outcomes, work.seconds)
    record = run_record(request, work, found, time.monotonic() - started)
    write_sidecars(outcomes, scans, folder / "labelsTr", record, settings, clisc / "sidecars")
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


def place_scan(scan: Path, target: Path, copy: bool) -> None:
    """Put a scan into imagesTr: linked or copied, or written anew where nnU-Net needs it."""
    volume = read_volume(scan)
    if background_value(volume.array) == 0 and scan.name.lower().endswith(FILE_ENDING):
        place_image(scan, target, copy=copy)
    else:
        write_image_with_zero_background(volume, target)


def _describe(found: InputFolder) -> str:
    lines = [f"{found.layout} folder of {len(found.cases)} cases"]
    lines += [f"  left out: {path} ({reason})" for path, reason in found.ignored]
    return "\n".join(lines)
