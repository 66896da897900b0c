"""Whether the filter finds spoilt pseudo-labels, and what the network gains.

    python -m benchmarks.filter_control -i PHANTOMS -o OUT [--seeds 0 1 2] [--arms ...]

30 % of the training phantoms get a spoilt label. A network learns from these labels for a quarter
of the schedule; from that one checkpoint on, each arm goes its own way to the end. `clean` learns
from the true labels from the start. All are scored on phantoms that none of them has seen. Every
finished part is kept, so a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.short_training import (
    Budget,
    HalfWay,
    make_dataset,
    make_trainer,
    predict_scans,
    seed_everything,
    use_folders,
)
from benchmarks.spoilt_labels import spoil, spoilt_cases
from clisc_nnunet.evaluation.scores import dice
from clisc_nnunet.selection import Judged, select_cases
from clisc_nnunet.volume import read_geometry, read_mask, read_volume, write_volume

SPOILT_SHARE = 0.3
# Coarse, so that two cores can train for long enough.
SPACING = 4.0
KEEP_RATIOS = (0.7, 0.8)
# Of the schedule, after which the arms part.
FIRST_ROUND = 0.25
# What differs from the default settings of a round.
PAPERS_CHOICES: dict[str, Any] = {
    "min_similarity": 0.0,
    "measure": "sam",
    "looks": "axial",
    "relabel": "network",
}
ARMS: dict[str, dict[str, Any] | None] = {
    "clean": None,
    "none": {"rounds": ()},
    "default": {},
    "paper's choices": PAPERS_CHOICES,
    "paper's measure": {"measure": "sam"},
    "one look": {"looks": "axial"},
    "votes as labels": {"relabel": "vote"},
    "predictions as labels": {"relabel": "network"},
    "no restart": {"restart": False},
    "round halfway": {"rounds": (0.5,)},
    "no least similarity": {"min_similarity": 0.0},
    "two rounds": {"rounds": (0.25, 0.5)},
    "two rounds, no way back": {"rounds": (0.25, 0.5), "readmit": False},
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-i", type=Path, required=True, help="folder of clisc_make_phantoms")
    parser.add_argument("-o", type=Path, required=True, help="output folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--arms",
        nargs="+",
        default=["clean", "none", "default", "paper's choices"],
        choices=list(ARMS),
    )
    parser.add_argument("--held-out", type=int, default=10, help="phantoms for scoring")
    parser.add_argument("--epochs", type=int, default=Budget.epochs)
    parser.add_argument("--iterations", type=int, default=Budget.iterations)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(argv)
    out: Path = options.o.resolve()
    use_folders(out)
    budget = Budget(options.epochs, options.iterations)
    for seed in options.seeds:
        for arm in options.arms:
            _run_arm(options.i, out, seed, arm, budget, options.held_out, options.threads)
    print(_tables(out, options.seeds, options.arms))
    return 0


def _run_arm(
    phantoms: Path, out: Path, seed: int, arm: str, budget: Budget, held_out: int, threads: int
) -> None:
    import torch

    from clisc_nnunet.trainers.nnUNetTrainerCLISC import nnUNetTrainerCLISC
    from clisc_nnunet.trainers.round_settings import NO_FILTER, RoundSettings

    result = _result(out, seed, arm)
    if result.exists():
        return
    torch.set_num_threads(threads)
    scans = {p.name: p / f"{p.name}_flair.nii.gz" for p in sorted((phantoms / "images").iterdir())}
    truths = {case: phantoms / "labels" / f"{case}.nii.gz" for case in scans}
    test = sorted(scans)[-held_out:]
    train = [case for case in sorted(scans) if case not in test]
    split = [{"train": train, "val": test}]
    folder = out / result.stem
    if arm == "clean":
        dataset = make_dataset(out, 600, scans, truths, split, {}, SPACING)
        seed_everything(seed)
        trainer = make_trainer(dataset, 0, folder, nnUNetTrainerCLISC, budget, NO_FILTER)
    else:
        labels, _ = _spoilt_labels(out, scans, truths, train, seed)
        dataset = make_dataset(out, 601 + seed, scans, labels, split, {}, SPACING)
        warm = _warm_up(out, dataset, seed, budget)
        settings = replace(RoundSettings(), **(ARMS[arm] or {}))
        trainer = make_trainer(dataset, 0, folder, nnUNetTrainerCLISC, budget, settings)
        shutil.copy(warm, Path(trainer.output_folder) / "checkpoint_latest.pth")
        trainer.load_checkpoint(str(Path(trainer.output_folder) / "checkpoint_latest.pth"))
        seed_everything(seed + 1000)
    trainer.run_training()
    found = predict_scans(trainer, test)
    rounds = sorted(Path(trainer.output_folder).glob("clisc/round_*.json"))
    facts = {
        "dice": {c: dice(found[c], read_mask(truths[c], read_geometry(scans[c]))) for c in test},
        "rounds": [json.loads(path.read_text()) for path in rounds],
    }
    result.parent.mkdir(exist_ok=True)
    result.write_text(json.dumps(facts))
    print(f"seed {seed}, {arm}: Dice {np.mean(list(facts['dice'].values())):.3f}", flush=True)


def _result(out: Path, seed: int, arm: str) -> Path:
    return out / "results" / f"seed{seed}_{re.sub('[^a-z0-9.]+', '_', arm)}.json"


def _warm_up(out: Path, dataset: str, seed: int, budget: Budget) -> Path:
    """Checkpoint after the first part of the schedule, on the spoilt labels."""
    from clisc_nnunet.trainers.nnUNetTrainerCLISC import nnUNetTrainerCLISC
    from clisc_nnunet.trainers.round_settings import NO_FILTER

    kept = out / f"seed{seed}_warm.pth"
    if not kept.exists():
        seed_everything(seed)
        trainer = make_trainer(
            dataset,
            0,
            out / f"seed{seed}_warm",
            nnUNetTrainerCLISC,
            budget,
            NO_FILTER,
            stop_before=round(FIRST_ROUND * budget.epochs),
        )
        try:
            trainer.run_training()
        except HalfWay:
            shutil.copy(Path(trainer.output_folder) / "checkpoint_latest.pth", kept)
    return kept


def _spoilt_labels(
    out: Path, scans: dict[str, Path], truths: dict[str, Path], train: list[str], seed: int
) -> tuple[dict[str, Path], dict[str, str]]:
    """Label files of a seed, and which of them are spoilt and how."""
    rng = np.random.default_rng(seed)
    kinds = spoilt_cases(train, SPOILT_SHARE, rng)
    folder, files = out / f"labels{seed}", dict(truths)
    folder.mkdir(exist_ok=True)
    for case, kind in kinds.items():
        files[case] = folder / f"{case}.nii.gz"
        other = truths[train[(train.index(case) + 1) % len(train)]]
        if not files[case].exists():
            scan = read_volume(scans[case])
            label = read_mask(truths[case], scan.geometry)
            wrong = spoil(label, scan.array != 0, read_volume(other).array > 0, kind, rng)
            write_volume(files[case], wrong.astype(np.uint8), scan.geometry)
    (folder / "kinds.json").write_text(json.dumps(kinds))
    return files, kinds


def _tables(out: Path, seeds: Sequence[int], arms: Sequence[str]) -> str:
    shares = [f"spoilt rejected / good kept at {keep}" for keep in KEEP_RATIOS]
    lines = [f"| arm | Dice by seed | mean | {' | '.join(shares)} |", "| - |" + " - |" * 4]
    for arm in arms:
        facts = [json.loads(_result(out, seed, arm).read_text()) for seed in seeds]
        means = [float(np.mean(list(f["dice"].values()))) for f in facts]
        found = [""] * len(KEEP_RATIOS)
        if all(f["rounds"] for f in facts):
            kinds = [json.loads((out / f"labels{s}" / "kinds.json").read_text()) for s in seeds]
            first = [f["rounds"][0]["cases"] for f in facts]
            found = [_detection(first, kinds, keep) for keep in KEEP_RATIOS]
        by_seed = " ".join(f"{m:.3f}" for m in means)
        lines.append(f"| {arm} | {by_seed} | {np.mean(means):.3f} | {' | '.join(found)} |")
    return "\n".join(lines)


def _detection(
    rounds: Sequence[dict[str, Any]], spoilt: Sequence[dict[str, str]], keep: float
) -> str:
    """Shares of spoilt cases rejected and of good ones kept, had a round kept this share."""
    rejected, kept = [], []
    for cases, kinds in zip(rounds, spoilt, strict=True):
        judged = {
            case: Judged(known["similarity"], not known["volume_predicted_ml"])
            for case, known in cases.items()
        }
        for case, verdict in select_cases(judged, keep).items():
            (kept if case not in kinds else rejected).append(verdict.kept == (case not in kinds))
    return f"{np.mean(rejected):.2f} / {np.mean(kept):.2f}"


if __name__ == "__main__":
    sys.exit(main())
