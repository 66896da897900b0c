"""Options of `clisc_make_pseudo_dataset`, and what follows from them: settings, models, workers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from clisc_nnunet.errors import UserError
from clisc_nnunet.inputs.case_filter import chosen_input
from clisc_nnunet.inputs.channels import Channel, chosen_channels
from clisc_nnunet.inputs.find_cases import InputFolder
from clisc_nnunet.models.model_set import ModelNames
from clisc_nnunet.models.registry import BUNDLED_NAME, ENTRIES
from clisc_nnunet.pipeline.pseudo_label_pipeline import SHARED_STEPS
from clisc_nnunet.processes import WorkerPool, check_main_guard, dask_pool, local_pool
from clisc_nnunet.settings import Settings, preset, read_settings, updated
from clisc_nnunet.stages.brain_extraction import check_brain_masks

# Models of `--models`: CLIP, SAM, backbone of the classifier.
MODEL_SETS = {
    "bundled": ("bundled", "bundled", "bundled"),
    "paper": ("ViT-B-32", "sam_vit_b", "resnet50"),
}


@dataclass(frozen=True)
class ConversionOptions:
    """Options of the command; names as in its help."""

    scans: Path
    dataset_id: int
    name: str = "CLISC"
    root: Path | None = None
    models: str = "bundled"
    clip: str | None = None
    sam: str | None = None
    classifier: str | None = None
    preset: str = "default"
    settings: Settings | None = None
    settings_file: Path | None = None
    overrides: tuple[str, ...] = ()
    """Single settings, `STAGE.NAME=VALUE`."""
    slice_labels: Path | None = None
    device: str | None = None
    processes: int = 2
    copy: bool = False
    empty_cases: Literal["leave-out", "background"] = "leave-out"
    resume: bool = False
    retry_failed: bool = False
    stage: str | None = None
    """Step to stop after, one of `pipeline.STEPS`; no dataset is written then."""
    part: int = 0
    parts: int = 1
    """The cases are divided into this many parts, of which one is processed."""
    scheduler: str | None = None
    """Dask scheduler, instead of processes on this machine."""
    channels: tuple[str, ...] = ()
    label_channel: str = "flair"
    cases: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    brain_masks: Path | None = None
    add_phantoms: int | None = None
    """Number of phantoms in the dataset; None: those that it has."""
    command: str = ""

    @property
    def last(self) -> str:
        """Last step to run."""
        return self.stage or "labels"

    @property
    def only_stage(self) -> bool:
        """Whether to stop after the last step without writing a dataset."""
        return self.stage is not None

    @property
    def keep_empty(self) -> bool:
        """Whether cases without a tumour are labelled background."""
        return self.empty_cases == "background"

    @property
    def resumes(self) -> bool:
        """Whether the dataset may exist already."""
        return self.resume or self.retry_failed or self.only_stage or self.parts > 1


def chosen_settings(options: ConversionOptions) -> Settings:
    """The given settings, else from the preset or the settings file; updated by `--set`."""
    settings = options.settings or (
        read_settings(options.settings_file) if options.settings_file else preset(options.preset)
    )
    for option in options.overrides:
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


def chosen_models(options: ConversionOptions) -> ModelNames:
    """Names of the three models; paths are made absolute, for other processes."""
    names = MODEL_SETS[options.models]
    given = (options.clip, options.sam, options.classifier)
    return ModelNames(*(_absolute(own or usual) for own, usual in zip(given, names, strict=True)))


def _absolute(name: str) -> str:
    """`FILE` and `NAME=FILE` with the absolute path of the file; other names unchanged."""
    like, equals, file = name.partition("=")
    if name in (BUNDLED_NAME, *ENTRIES):
        return name
    if Path(name).exists():
        return str(Path(name).absolute())
    return f"{like}={Path(file).absolute()}" if equals and Path(file).exists() else name


def chosen_pools(options: ConversionOptions, device: torch.device) -> tuple[WorkerPool, WorkerPool]:
    """Worker pools for scans and for the models; on a GPU, models run in this process only."""
    if options.scheduler is not None:
        pool = dask_pool(options.scheduler)
        return pool, pool
    pool = local_pool(options.processes)
    return pool, pool if device.type == "cpu" else local_pool(1)


def check(options: ConversionOptions) -> None:
    """Check the numbers of a call.

    Raises
    ------
    UserError
    """
    if options.processes < 1:
        raise UserError("-np", str(options.processes), "1 or more", "change -np")
    # Before anything is written; a Dask cluster has its own processes.
    check_main_guard(1 if options.scheduler else options.processes)
    if options.parts < 1 or not 0 <= options.part < options.parts:
        raise UserError(
            "-part_id",
            f"{options.part} of {options.parts}",
            "0 to num_parts - 1",
            "change -part_id or -num_parts",
        )
    if options.parts > 1 and not options.only_stage:
        raise UserError(
            "-num_parts",
            "no --stage",
            "--stage slices, regions or labels",
            "divide one of these stages; --help shows the order",
        )
    if options.parts > 1 and options.last not in SHARED_STEPS:
        raise UserError(
            "-num_parts",
            f"--stage {options.last}, which needs all cases",
            f"one of {', '.join(SHARED_STEPS)}",
            "omit -num_parts, or choose a stage that can be divided",
        )


def read_input(options: ConversionOptions) -> tuple[tuple[Channel, ...], InputFolder]:
    """Channels and cases of a call.

    Raises
    ------
    UserError
        For invalid options or input.
    """
    check_brain_masks(options.brain_masks)
    channels = chosen_channels(options.channels, options.label_channel)
    return channels, chosen_input(
        options.scans, channels, options.label_channel, options.cases, options.leave_out
    )
