"""Provenance of a dataset: `run.json` for people, an entry in `dataset.json` for the trainer."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from clisc_nnunet import __version__
from clisc_nnunet.dataset_conversion.options import ConversionOptions
from clisc_nnunet.dataset_layout import PHANTOMS_KEY
from clisc_nnunet.inputs.find_cases import InputFolder
from clisc_nnunet.models.model_set import Models
from clisc_nnunet.models.registry import BUNDLED_NAME
from clisc_nnunet.models.weights import read_card
from clisc_nnunet.pipeline.run_results import RunResults
from clisc_nnunet.processes import peak_memory_gb
from clisc_nnunet.settings import Settings


def trainer_key(
    models: Models, settings: Settings, label_channel: int = 0, phantoms: Sequence[str] = ()
) -> dict[str, Any]:
    """Entry in dataset.json for the trainer: the SAM to filter cases with, and the phantoms."""
    sam = models.sam
    entry = {
        "version": __version__,
        "sam": {"name": sam.name, "sha256": sam.sha256, "identity": sam.identity},
        "settings": json.loads(settings.to_json()),
        "prompt_channel": label_channel,
    }
    return entry | ({PHANTOMS_KEY: list(phantoms)} if phantoms else {})


def run_record(
    options: ConversionOptions,
    results: RunResults,
    found: InputFolder,
    seconds: float,
    phantoms: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Content of `run.json`; `phantoms` are the records of those in the dataset."""
    packages = ("torch", "open_clip_torch", "segment_anything", "grad-cam", "SimpleITK", "nnunetv2")
    extractor = {}
    if results.config.settings.slices.brain == "extracted":
        extractor = {"brain": {"name": BUNDLED_NAME, "sha256": read_card("brain")["sha256"]}}
    return {
        "command": options.command,
        "clisc_nnunet": __version__,
        "versions": {name: version(name) for name in packages},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {results.config.device}",
        "layout": found.layout,
        "channels": list(found.channels),
        "models": {
            role: {"name": model.name, "sha256": model.sha256}
            for role, model in (
                ("clip", results.config.models.clip),
                ("sam", results.config.models.sam),
                ("classifier", results.config.models.backbone),
            )
        }
        | extractor,
        "seed": results.config.settings.seed,
        "kept": list(results.notes),
        "files_read": sorted(set(results.files_read)),
        "choice": {
            name: [{**asdict(t), "score": t.score} for t in trials]
            for name, trials in results.trials.items()
        },
        "seconds": {
            **{k: round(v, 1) for k, v in results.seconds.items()},
            "total": round(seconds, 1),
        },
        "peak_memory_gb": peak_memory_gb(),
        "phantoms": list(phantoms),
    }
