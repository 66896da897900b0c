"""The complete workflow on phantoms: `python -m benchmarks.demo -o demo_out` (or `make demo`).

Makes phantoms and their pseudo-labels (without using the true masks), trains nnU-Net for two
epochs with a filter round before them, predicts unseen phantoms with the networks from before and
after the training, and finally compares the predictions with the true masks.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks import evaluate_stages
from clisc_nnunet.dataset_layout import DatasetLayout
from clisc_nnunet.io.volume import read_geometry, read_mask, read_volume
from clisc_nnunet.metrics import dice

DATASET = "501"
# An epoch has 250 iterations.
TRAINER = "nnUNetTrainerCLISC_2epochs"
CHECKPOINTS = {
    "before training": "checkpoint_before_round_01.pth",
    "after it": "checkpoint_final.pth",
}
COLOURS = {"truth": "blue", "before training": "gold", "after it": "red"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit status of the first step that fails, or 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", type=Path, default=Path("demo_out"), help="output folder")
    parser.add_argument("-n", type=int, default=10, help="number of training phantoms")
    arguments = parser.parse_args(argv)
    out: Path = arguments.o.resolve()
    started = time.monotonic()

    seen, unseen = out / "phantoms", out / "unseen"
    _run(["clisc_make_phantoms", "-o", seen, "-n", arguments.n, "--seed", 0, "-np", 2], out)
    _run(["clisc_make_phantoms", "-o", unseen, "-n", 3, "--seed", 1000, "--tumour-free", 0], out)

    dataset = out / "nnUNet_raw" / f"Dataset{DATASET}_CLISC"
    resume = ["--continue"] if dataset.exists() else []
    _run(["clisc_make_pseudo_dataset", "-i", seen / "images", "-d", DATASET, *resume], out)

    plan = ["-d", DATASET, "-c", "3d_fullres", "--no_pp", "--verify_dataset_integrity"]
    _run(["nnUNetv2_plan_and_preprocess", *plan, "-npfp", 1], out)
    _run(["clisc_add_small_plans", "-d", DATASET, "--overwrite"], out)
    small = ["-c", "3d_fullres", "-plans_name", "nnUNetPlansSmall", "-np", 2]
    _run(["nnUNetv2_preprocess", "-d", DATASET, *small], out)
    job: list[object] = ["-p", "nnUNetPlansSmall", "-tr", TRAINER, "-device", "cpu"]
    # No worker processes: on two cores they would compete with the training.
    train = ["nnUNetv2_train", DATASET, "3d_fullres", "all", *job]
    _run(train, out, nnUNet_n_proc_DA="0")

    scans = out / "unseen_scans"
    scans.mkdir(exist_ok=True)
    for path in sorted((unseen / "images").glob("*/*_flair.nii.gz")):
        shutil.copy(path, scans / path.name.replace("_flair", "_0000"))
    job += ["-d", DATASET, "-c", "3d_fullres", "-f", "all", "--disable_tta", "-npp", 1, "-nps", 1]
    predicted = {when: out / f"predictions_{name[:-4]}" for when, name in CHECKPOINTS.items()}
    for when, name in CHECKPOINTS.items():
        to = ["-i", scans, "-o", predicted[when], "-chk", name]
        _run(["nnUNetv2_predict", *to, *job], out)

    minutes = (time.monotonic() - started) / 60
    print("\nStages compared with the true masks, which were not used before:\n")
    evaluate_stages.main(["-d", str(dataset), "-r", str(seen / "labels")])
    (report,) = (out / "nnUNet_results").rglob("fold_all/clisc/round_01.json")
    print(f"\nFilter round: {json.loads(report.read_text())['decision']}")
    print("\nDice of nnU-Net on unseen phantoms, before and after the training:\n")
    print(_prediction_table(scans, predicted, unseen / "labels", out / "predictions.png"))
    print(f"\n{minutes:.1f} minutes; figures:")
    for picture in (
        DatasetLayout(dataset).overview_png,
        report.with_suffix(".png"),
        out / "predictions.png",
    ):
        print(f"  {picture}")
    return 0


def _run(command: Sequence[object], out: Path, **variables: str) -> None:
    """Run a command with nnU-Net's folders inside of the output folder."""
    words = [str(word) for word in command]
    print("\n$ " + " ".join(words), flush=True)
    folders = {
        name: str(out / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    }
    for folder in folders.values():
        Path(folder).mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        **folders,
        "nnUNet_def_n_proc": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        **variables,
    }
    program = Path(sys.executable).parent / words[0]
    done = subprocess.run([str(program), *words[1:]], env=environment, check=False)
    if done.returncode:
        print(f"{words[0]} ended with status {done.returncode}", file=sys.stderr)
        sys.exit(done.returncode)


def _prediction_table(
    scans: Path, predicted: Mapping[str, Path], truths: Path, picture: Path
) -> str:
    """Markdown table of Dice; also saves a figure of the slices with the largest tumour area."""
    files = sorted(scans.glob("*_0000.nii.gz"))
    figure = Figure(figsize=(3.2 * len(files), 3.8), layout="constrained")
    panels = figure.subplots(1, len(files), squeeze=False)[0]
    lines = [f"| case | {' | '.join(predicted)} |", "| --- |" + " --- |" * len(predicted)]
    scores: dict[str, list[float]] = {when: [] for when in predicted}
    for axes, path in zip(panels, files, strict=True):
        case = path.name.removesuffix("_0000.nii.gz")
        grid = read_geometry(path)
        masks = {"truth": read_mask(truths / f"{case}.nii.gz", grid)}
        for when, folder in predicted.items():
            masks[when] = read_mask(folder / f"{case}.nii.gz", grid)
            scores[when].append(dice(masks[when], masks["truth"]))
        found = [f"{scores[when][-1]:.3f}" for when in predicted]
        lines.append(f"| {case} | {' | '.join(found)} |")
        plane = int(masks["truth"].sum(axis=(1, 2)).argmax())
        axes.imshow(read_volume(path).array[plane], cmap="gray")
        for name, mask in masks.items():
            if mask[plane].any():
                axes.contour(mask[plane], levels=[0.5], colors=[COLOURS[name]], linewidths=1)
        axes.set_title(f"{case}: Dice {', then '.join(found)}", fontsize=8)
        axes.set_axis_off()
    figure.supxlabel(", ".join(f"{c}: {name}" for name, c in COLOURS.items()), fontsize=8)
    figure.savefig(picture, dpi=100)
    means = [f"{np.mean(scores[when]):.3f}" for when in predicted]
    lines.append(f"| mean | {' | '.join(means)} |")
    (picture.parent / "predictions.json").write_text(json.dumps({"dice": scores}, indent=1) + "\n")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
