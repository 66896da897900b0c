"""Compare text prompt sets by CLIP's probabilities on a few volumes of a folder."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from clisc_nnunet.errors import ScanError, UserError
from clisc_nnunet.inputs.channels import FLAIR, Channel
from clisc_nnunet.inputs.find_cases import find_label_channel_scans
from clisc_nnunet.models.clip import load_clip
from clisc_nnunet.models.device import chosen_device
from clisc_nnunet.pipeline.slice_step import open_scan
from clisc_nnunet.quality_control.prompt_page import write_page, write_picture
from clisc_nnunet.quality_control.prompt_separation import PromptCheck, ScoredSlices, check_prompts
from clisc_nnunet.settings import preset
from clisc_nnunet.stages.brain_extraction import check_brain_masks
from clisc_nnunet.stages.cam_selection import spread
from clisc_nnunet.stages.clip_labels import class_embeddings, read_text_prompts, tumour_probability

WRITTEN = (".html", ".png")


@dataclass(frozen=True)
class PromptOptions:
    """Options of `clisc_check_prompts`; names as in its help."""

    scans: Path
    out: Path
    prompts: tuple[str, ...] = ("paper",)
    clip: str = "bundled"
    count: int = 4
    preset: str = "default"
    device: str | None = None
    brain_masks: Path | None = None
    """Folder of `CASE.nii.gz`, used instead of brain extraction."""
    channels: tuple[str, ...] = ()
    label_channel: str = FLAIR
    command: str = ""


@dataclass(frozen=True)
class PromptComparison:
    """One check per prompt set, and the error message of each scan that was skipped."""

    checks: tuple[PromptCheck, ...]
    failures: dict[str, str]


def check_folder(options: PromptOptions) -> PromptComparison:
    """Check prompt sets on a few volumes, and write an HTML page or a PNG.

    Raises
    ------
    UserError
        For invalid options or input, and if no scan is usable. Single unusable scans are skipped.
    """
    if options.out.suffix.lower() not in WRITTEN:
        raise UserError("-o", str(options.out), "a name ending in .html or .png", "rename it")
    if options.count < 1:
        raise UserError("-n", str(options.count), "1 or more", "change -n")
    check_brain_masks(options.brain_masks)
    settings = preset(options.preset)
    sets = {set_name(name): read_text_prompts(name) for name in options.prompts}
    if len(sets) < len(options.prompts):
        raise UserError(
            "--prompts", "two prompt sets with the same name", "different names", "rename a file"
        )
    scans = find_label_channel_scans(options.scans, options.channels, options.label_channel)
    clip = load_clip(options.clip, chosen_device(options.device))
    # Fails on words that the model does not know, before any scan is read.
    classes = {name: class_embeddings(clip, prompts) for name, prompts in sets.items()}

    scored: dict[str, dict[str, ScoredSlices]] = {name: {} for name in sets}
    pixels: dict[str, np.ndarray] = {}
    failures: dict[str, str] = {}
    chosen = spread(np.array(sorted(scans)), options.count).tolist()
    for case in tqdm(chosen, "prompts", unit="volume", file=sys.stderr):
        try:
            brain_file = options.brain_masks and options.brain_masks / f"{case}.nii.gz"
            stack = open_scan(scans[case], settings.slices, brain_file).stack
        except ScanError as error:
            failures[case] = str(error)
            continue
        planes = stack.planes_with_brain
        pixels[case] = stack.pixels[planes]
        height = (planes - planes[0]) * stack.geometry.spacing[2]
        for name in sets:
            probability = tumour_probability(clip, classes[name], pixels[case])
            scored[name][case] = ScoredSlices(height, probability)
    if not pixels:
        raise UserError(
            options.scans,
            f"no usable scan among {len(failures)} ({next(iter(failures.values()))})",
            f"at least one {Channel(options.label_channel).displayed} scan",
            "fix or replace them",
        )
    checks = tuple(check_prompts(name, cases, settings.labels) for name, cases in scored.items())
    try:
        if options.out.suffix.lower() == ".png":
            write_picture(checks, pixels, options.out)
        else:
            write_page(checks, pixels, options.out, options.command)
    except OSError as error:
        where = str(error.strerror)
        raise UserError(options.out, where, "a writable file", "choose another path") from None
    return PromptComparison(checks, failures)


def set_name(prompts: str) -> str:
    """Display name of a prompt set; for a file, its name without extension."""
    return Path(prompts).stem if prompts.endswith(".json") else prompts
