"""The whole converter once with models of full size: `python -m benchmarks.large_models -o OUT`.

CLIP ViT-B/32 and SAM ViT-B with random weights, which cost what trained ones cost, are written in
the formats of their publishers and named as a user names a file. A few phantoms with thick planes
keep it short. A random CLIP finds no tumour: the slice labels are those of a run with the bundled
models, which is timed for comparison, and CLIP looks at the same slices by `clisc_check_prompts`.
The classifier is the bundled one in both runs, so that both ask SAM for the same slices; the random
SAM rates all its masks alike, so that none is dropped.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clisc_nnunet.models.registry import ENTRIES

if TYPE_CHECKING:
    import torch

CLIP, SAM = "ViT-B-32", "sam_vit_b"
RATING = 0.9  # that SAM gives to each of its masks
REST = "models, pages and the rest"
_CONVERT = "clisc_nnunet.dataset_conversion.make_pseudo_dataset"


@dataclass(frozen=True)
class Spent:
    """What a command took: seconds by the clock and of the processor, most memory in GB."""

    wall: float
    cpu: float
    peak_gb: float
    status: int


def measured(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Spent:
    """Run a command and wait for it, beside whatever else runs here.

    Parameters
    ----------
    command : sequence of str
    environment : mapping, optional
        Variables to set on top of this process's own.

    Notes
    -----
    On Linux the peak is no less than that of this process, which a child begins with; weights are
    therefore written by another one.
    """
    started = time.monotonic()
    process = subprocess.Popen(command, env={**os.environ, **(environment or {})})
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Spent(
        round(time.monotonic() - started, 1),
        round(usage.ru_utime + usage.ru_stime, 1),
        round(usage.ru_maxrss * 1024 / 1e9, 2),
        process.returncode,
    )


def weight_files(folder: Path) -> dict[str, Path]:
    """Weight files by name of the registry, under their publishers' names."""
    return {name: folder / ENTRIES[name].file for name in (CLIP, SAM)}


def write_weights(folder: Path) -> None:
    """Write `weight_files` with random weights; what is there stays."""
    import open_clip
    import torch
    from safetensors.torch import save_file
    from segment_anything import sam_model_registry

    folder.mkdir(parents=True, exist_ok=True)
    files = weight_files(folder)
    torch.manual_seed(0)
    if not files[CLIP].exists():
        state = open_clip.create_model(CLIP, pretrained=None).state_dict()
        save_file({key: value.contiguous() for key, value in state.items()}, str(files[CLIP]))
    if not files[SAM].exists():
        state = sam_model_registry[ENTRIES[SAM].architecture]().state_dict()
        torch.save(rate_all_alike(state, RATING), files[SAM])


def rate_all_alike(state: dict[str, torch.Tensor], rating: float) -> dict[str, torch.Tensor]:
    """Weights of a SAM whose predicted IoU is `rating`, whatever the mask."""
    last = max(key for key in state if key.startswith("mask_decoder.iou_prediction_head.layers."))
    last = last.rpartition(".")[0]
    changed = {
        f"{last}.weight": state[f"{last}.weight"] * 0,
        f"{last}.bias": state[f"{last}.bias"] * 0 + rating,
    }
    return state | changed


def by_stage(seconds: Mapping[str, float]) -> list[tuple[str, float, float]]:
    """Seconds of each stage and of all that is none, and their shares of the total.

    Parameters
    ----------
    seconds : mapping
        As in `clisc/run.json`, with `total`.
    """
    stages = {stage: spent for stage, spent in seconds.items() if stage != "total"}
    stages[REST] = round(seconds["total"] - sum(stages.values()), 1)
    return [(stage, spent, spent / seconds["total"]) for stage, spent in stages.items()]


def table(seconds: Mapping[str, float]) -> str:
    """`by_stage` as Markdown."""
    rows = [f"| {s} | {spent:.1f} | {share:.0%} |" for s, spent, share in by_stage(seconds)]
    return "\n".join(["| stage | seconds | share |", "| --- | --- | --- |", *rows])


def prepare(out: Path, cases: int, seed: int) -> bool:
    """Write weights and phantoms, each in a process of its own; whether both are there."""
    context = multiprocessing.get_context("spawn")
    writer = context.Process(target=write_weights, args=(out / "weights",))
    if not all(path.exists() for path in weight_files(out / "weights").values()):
        writer.start()
        writer.join()
    phantoms = ["-o", str(out / "phantoms"), "-n", str(cases), "--seed", str(seed)]
    thick = ["--spacing", "3", "--tumour-free", "0"]
    command = [sys.executable, "-m", "clisc_nnunet.cli.make_phantoms", *phantoms, *thick]
    return not writer.exitcode and measured(command).status == 0


def main(argv: Sequence[str] | None = None) -> int:
    """Write weights and scans, run the commands, print the tables; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.large_models", description=__doc__)
    parser.add_argument("-o", type=Path, required=True, metavar="FOLDER", help="a new folder")
    parser.add_argument("-n", type=int, default=2, metavar="CASES")
    parser.add_argument("--seed", type=int, default=5, help="of the phantoms")
    parser.add_argument("--plane", type=float, default=12.0, help="slices.plane_mm")
    parser.add_argument("--set", action="append", default=[], help="as the converter takes it")
    parser.add_argument("-device", default="cpu")
    arguments = parser.parse_args(argv)
    out = arguments.o.absolute()
    python = [sys.executable, "-m"]
    if not prepare(out, arguments.n, arguments.seed):
        return 1
    files = weight_files(out / "weights")
    scans = str(out / "phantoms" / "images")
    options = [f"slices.plane_mm={arguments.plane}", *arguments.set]
    common = ["-o", str(out), "-device", arguments.device, "-np", "1"]
    common += [word for option in options for word in ("--set", option)]
    labels = out / "Dataset501_Bundled" / "clisc" / "slice_labels.csv"
    convert = [*python, _CONVERT, "-i", scans, *common]
    clip, sam = (f"{name}={files[name]}" for name in (CLIP, SAM))
    commands = {
        "bundled": [*convert, "-d", "501", "--name", "Bundled"],
        "prompts": [*python, "clisc_nnunet.cli.check_prompts", "-i", scans, "--clip", clip,
                    "-o", str(out / "prompts.html"), "-n", str(arguments.n),
                    "-device", arguments.device],
        "large": [*convert, "-d", "502", "--name", "Large", "--slice-labels", str(labels),
                  "--clip", clip, "--sam", sam],
    }  # fmt: skip
    figures: dict[str, dict] = {}
    for name, command in commands.items():
        spent = measured(command, {"CLISC_OFFLINE": "1"})
        if spent.status:
            print(f"{name}: exit status {spent.status}: {' '.join(command)}", file=sys.stderr)
            return spent.status
        figures[name] = asdict(spent)
        print(f"{name}: {figures[name]}", flush=True)
    for name, dataset in (("bundled", "Dataset501_Bundled"), ("large", "Dataset502_Large")):
        record = json.loads((out / dataset / "clisc" / "run.json").read_text(encoding="utf-8"))
        figures[name]["seconds"] = record["seconds"]
        print(f"\n{name}\n\n{table(record['seconds'])}")
    (out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
