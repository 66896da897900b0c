"""Self-learning on real scans, scored out of fold.

    python -m benchmarks.cross_validation -d nnUNet_raw/Dataset501_CLISC -r REFERENCES -o OUT

The dataset is what clisc_make_pseudo_dataset has written. Its cases are split into five fixed
folds; every arm is scored on cases that it has not learnt from:

pseudo-labels   of the scored cases themselves, drawn by CLIP and SAM
halfway         a network without rounds, halfway through the schedule
no round        the same network at the end of it
CLISC           a network with the rounds of the default settings, at the end
supervised      stock training on the references, same budget

References are opened for scoring, and by `supervised` for training. Every finished part is kept,
so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
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
from clisc_nnunet.evaluation.scores import dice
from clisc_nnunet.volume import read_geometry, read_mask

FOLDS = 5
ARMS = ("halfway", "no round", "CLISC", "supervised")


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-d", type=Path, required=True, help="raw dataset with pseudo-labels")
    parser.add_argument("-r", type=Path, required=True, help="folder of references")
    parser.add_argument("-o", type=Path, required=True, help="output folder")
    parser.add_argument("--arms", nargs="+", default=ARMS, choices=ARMS)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--iterations", type=int, default=Budget.iterations)
    parser.add_argument("--spacing", type=float, default=3.0, help="mm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(argv)
    bench = _Bench(options)
    for fold in range(FOLDS):
        for arm in options.arms:
            bench.run(fold, arm)
    print(bench.table(options.arms))
    return 0


class _Bench:
    """Two datasets of the same scans and folds: pseudo-labels and references."""

    def __init__(self, options: argparse.Namespace) -> None:
        import torch

        torch.set_num_threads(options.threads)
        self.out: Path = options.o.resolve()
        self.budget, self.seed = Budget(options.epochs, options.iterations), options.seed
        use_folders(self.out)
        images = sorted((options.d / "imagesTr").glob("*_0000.nii.gz"))
        self.scans = {path.name.removesuffix("_0000.nii.gz"): path for path in images}
        self.drawn = {case: options.d / "labelsTr" / f"{case}.nii.gz" for case in self.scans}
        self.truths = {case: options.r / f"{case}.nii.gz" for case in self.scans}
        order = np.random.default_rng(0).permutation(sorted(self.scans)).tolist()
        folds = [sorted(order[k::FOLDS]) for k in range(FOLDS)]
        self.splits = [{"train": sorted(set(order) - set(fold)), "val": fold} for fold in folds]
        clisc = json.loads((options.d / "dataset.json").read_text())["clisc"]
        sets = ((701, self.drawn), (702, self.truths))
        self.pseudo, self.true = (
            make_dataset(self.out, k, self.scans, labels, self.splits, clisc, options.spacing)
            for k, labels in sets
        )

    def run(self, fold: int, arm: str) -> None:
        """Train and score one arm on one fold, if that is not done."""
        result = self._result(fold, arm)
        if result.exists():
            return
        trainer = self._trained(fold, arm)
        cases = self.splits[fold]["val"]
        found = predict_scans(trainer, cases)
        scores = {case: dice(found[case], self._truth(case)) for case in cases}
        result.parent.mkdir(exist_ok=True)
        result.write_text(json.dumps(scores))
        print(f"fold {fold}, {arm}: {np.mean(list(scores.values())):.3f}", flush=True)

    def _trained(self, fold: int, arm: str) -> Any:
        from clisc_nnunet.trainers.nnUNetTrainerCLISC import nnUNetTrainerCLISC
        from clisc_nnunet.trainers.round_settings import NO_FILTER, RoundSettings

        folder = self.out / arm.replace(" ", "_")
        settings = RoundSettings() if arm == "CLISC" else NO_FILTER
        dataset = self.true if arm == "supervised" else self.pseudo
        stop = self.budget.epochs // 2 if arm == "halfway" else None
        trainer = make_trainer(
            dataset, fold, folder, nnUNetTrainerCLISC, self.budget, settings, stop
        )
        latest = Path(trainer.output_folder) / "checkpoint_latest.pth"
        halfway = self.out / f"halfway_{fold}.pth"
        seed_everything(self.seed)
        if arm == "no round":
            shutil.copy(halfway, latest)
            trainer.load_checkpoint(str(latest))
            seed_everything(self.seed + 1000)
        try:
            trainer.run_training()
        except HalfWay:
            shutil.copy(latest, halfway)
        return trainer

    def _truth(self, case: str) -> np.ndarray:
        return read_mask(self.truths[case], read_geometry(self.scans[case]))

    def _result(self, fold: int, arm: str) -> Path:
        return self.out / "results" / f"fold{fold}_{arm.replace(' ', '_')}.json"

    def table(self, arms: Sequence[str]) -> str:
        """Dice by case, arms side by side."""
        scores: dict[str, dict[str, float]] = {
            "pseudo-labels": {
                case: dice(read_mask(path, read_geometry(self.scans[case])), self._truth(case))
                for case, path in self.drawn.items()
            }
        }
        for arm in arms:
            scores[arm] = {}
            for fold in range(FOLDS):
                scores[arm].update(json.loads(self._result(fold, arm).read_text()))
        lines = [f"| case | {' | '.join(scores)} |", "| - |" + " - |" * len(scores)]
        for case in sorted(self.scans):
            lines.append(f"| {case} | {' | '.join(f'{s[case]:.3f}' for s in scores.values())} |")
        means = [f"{np.mean(list(s.values())):.3f}" for s in scores.values()]
        return "\n".join([*lines, f"| mean | {' | '.join(means)} |"])


if __name__ == "__main__":
    sys.exit(main())
