"""The paper's experiment on BraTS2020, from scans to scores; see docs/how-to/brats2020.md.

    python -m benchmarks.brats2020 -i MICCAI_BraTS2020_TrainingData -o OUT [--variant paper]

Makes pseudo-labels of the 257 training scans, trains nnU-Net with rounds, predicts the 75 test
scans, and only then opens their references. The same command resumes after the last finished step.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.resumable import check_same_settings
from clisc_nnunet.dataset_conversion.nnunet_dataset import place_image
from clisc_nnunet.dataset_layout import FILE_ENDING
from clisc_nnunet.errors import UserError, named
from clisc_nnunet.evaluation.find_masks import find_masks
from clisc_nnunet.inputs.find_cases import find_cases, scan_ending
from clisc_nnunet.io.atomic_write import write_text
from clisc_nnunet.io.volume import read_volume, write_volume

# Split of the paper (github.com/HiLab-git/CLISC, commit ed1c740, data/BraTS2020/splits); the other
# cases of the 369 are for training.
VALIDATION = (
    1, 6, 17, 30, 37, 48, 49, 64, 67, 75, 76, 79, 89, 95, 97, 111, 115, 120, 127, 142, 151, 154,
    187, 199, 233, 273, 290, 297, 299, 304, 312, 318, 333, 338, 349, 353, 360,
)  # fmt: skip
TEST = (
    5, 16, 23, 26, 28, 35, 39, 41, 45, 50, 51, 55, 59, 60, 61, 62, 63, 66, 74, 84, 86, 100, 102,
    103, 116, 121, 124, 138, 145, 148, 149, 157, 161, 163, 168, 170, 174, 176, 178, 180, 186, 188,
    197, 206, 211, 214, 217, 223, 231, 232, 234, 239, 240, 254, 255, 258, 261, 262, 263, 284, 285,
    288, 291, 292, 296, 300, 319, 320, 321, 331, 334, 343, 344, 355, 366,
)  # fmt: skip
CASES = 369
DATASET = "501"
Part = Literal["train", "validation", "test"]
Variant = Literal["default", "paper"]


@dataclass(frozen=True)
class Step:
    """A command of the experiment."""

    name: str
    command: tuple[str, ...]


def split() -> dict[Part, list[str]]:
    """Case names of each part."""
    held_out = {*VALIDATION, *TEST}
    numbers: dict[Part, Sequence[int]] = {
        "train": [n for n in range(1, CASES + 1) if n not in held_out],
        "validation": VALIDATION,
        "test": TEST,
    }
    return {part: [f"BraTS20_Training_{n:03d}" for n in found] for part, found in numbers.items()}


def find_scans(brats: Path) -> dict[str, Path]:
    """FLAIR scan of each case.

    Raises
    ------
    UserError
        If one of the 369 is missing.
    """
    scans = {case.name: case.image for case in find_cases(brats).cases}
    missing = [case for cases in split().values() for case in cases if case not in scans]
    if missing:
        raise UserError(
            brats,
            f"no FLAIR scan of {named(missing)}",
            f"all {CASES} cases of BraTS2020's training data",
            "check the path",
        )
    return scans


def place_scans(scans: Mapping[str, Path], out: Path) -> None:
    """Link the FLAIR scans of training and test into folders of their own, without any mask."""
    parts = split()
    for part in ("train", "test"):
        (out / part).mkdir(parents=True, exist_ok=True)
        for case in parts[part]:
            _place(scans[case], out / part / f"{case}_0000{FILE_ENDING}")


def place_references(brats: Path, out: Path) -> None:
    """Link the references of the test cases; called after prediction."""
    masks = find_masks(brats)
    folder = out / "references"
    folder.mkdir(parents=True, exist_ok=True)
    for case in split()["test"]:
        ending = scan_ending(masks[case])
        target = folder / f"{case}{ending}"
        if not target.is_symlink():
            target.symlink_to(masks[case].absolute())


def steps(out: Path, variant: Variant, device: str) -> list[Step]:
    """Commands of the experiment, in order."""
    trainer = "nnUNetTrainerCLISC" + ("_paper" if variant == "paper" else "")
    models = ["--models", "paper", "--preset", "paper"] if variant == "paper" else []
    network = ["-tr", trainer, "-device", device]
    folder = out / "nnUNet_raw" / f"Dataset{DATASET}_CLISC"
    train = ["nnUNetv2_train", DATASET, "3d_fullres", "all", *network]
    if any((out / "nnUNet_results").glob(f"Dataset{DATASET}*/{trainer}__*/fold_all/checkpoint_*")):
        train.append("--c")
    convert = ["clisc_make_pseudo_dataset", "-i", str(out / "train"), "-d", DATASET, *models]
    convert += ["-device", device, *(["--continue"] if folder.exists() else [])]
    predict = ["nnUNetv2_predict", "-d", DATASET, "-c", "3d_fullres", "-f", "all", *network]
    predict += ["-i", str(out / "test"), "-o", str(out / "predictions")]
    evaluate = ["clisc_evaluate", "-p", str(out / "predictions"), "-r", str(out / "references")]
    evaluate += ["-i", str(out / "test"), "-o", str(out / "evaluation"), "--missing", "empty"]
    plan = ["nnUNetv2_plan_and_preprocess", "-d", DATASET, "-c", "3d_fullres"]
    commands = {
        "pseudo-labels": convert,
        "preprocessing": [*plan, "--verify_dataset_integrity"],
        "training": train,
        "prediction": predict,
        "evaluation": evaluate,
    }
    return [Step(name, tuple(command)) for name, command in commands.items()]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the experiment; returns the exit status of the first step that fails, or 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-i", type=Path, required=True, metavar="BRATS", help="training data")
    parser.add_argument("-o", type=Path, required=True, metavar="OUT")
    parser.add_argument("--variant", choices=("default", "paper"), default="default")
    parser.add_argument("-device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--dry-run", action="store_true", help="only print the commands")
    arguments = parser.parse_args(argv)
    out: Path = arguments.o.resolve()
    if arguments.dry_run:
        for step in steps(out, arguments.variant, arguments.device):
            print(shlex.join(step.command))
        return 0
    try:
        scans = find_scans(arguments.i)
        data = str(arguments.i.resolve())
        check_same_settings(out / "call.json", variant=arguments.variant, data=data)
        place_scans(scans, out)
        for step in steps(out, arguments.variant, arguments.device):
            done = out / "done" / f"{step.name}.txt"
            if done.exists():
                continue
            if step.name == "evaluation":
                place_references(arguments.i, out)
            status = run(step, out)
            # 3: some scans could not be read; continue with the others.
            if status not in (0, 3):
                return status
            write_text(done, shlex.join(step.command) + "\n")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def run(step: Step, out: Path) -> int:
    """Run a step with nnU-Net's folders in OUT; returns its exit status."""
    print(f"== {step.name}: {shlex.join(step.command)}", flush=True)
    folders = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    for name in folders:
        (out / name).mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **{name: str(out / name) for name in folders}}
    # Prefer the commands installed with this Python.
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(step.command, env=environment, check=False).returncode


def _place(scan: Path, target: Path) -> None:
    if scan.name.endswith(FILE_ENDING):
        place_image(scan, target)
    elif not target.exists():  # some copies of BraTS2020 are not compressed
        volume = read_volume(scan)
        write_volume(target, volume.array, volume.geometry)


if __name__ == "__main__":
    sys.exit(main())
