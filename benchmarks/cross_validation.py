"""Self-learning on real scans, scored out of fold.

    python -m benchmarks.cross_validation -d nnUNet_raw/Dataset501_CLISC -r REFERENCES -o OUT

The dataset is what clisc_make_pseudo_dataset has written. Its cases are split into five fixed
folds, or as many as `--folds` says; every arm is scored on cases that it has not learnt from:

stock           stock nnU-Net on the pseudo-labels
CLISC           nnUNetTrainerCLISC on the pseudo-labels, with the rounds of the default settings
CLISC-restart   the same, but a round starts the network again, as in the paper
supervised      stock nnU-Net on the references: the ceiling

With `--folds 1` all cases are learnt from, and the same are scored, as in `nnUNetv2_train DATASET
3d_fullres all` and a prediction of the very scans; there `supervised` is no ceiling, but has seen
the answers. All arms have the same network, schedule and seeds; scores are averaged over `--seeds`
case by case. The pseudo-labels of the scored cases, drawn by CLIP and SAM, stand beside them.
References are opened for scoring, and by `supervised` for training. Every finished part is kept: a
run that was stopped, also by `--minutes`, goes on with the same command, and the tables show what
is finished so far. Predictions lie in OUT/predictions/ARM_seedN, for

    python -m benchmarks.quality_ranking -i SCANS -p OUT/predictions/CLISC_seed0 -r REFERENCES

(SCANS may be the dataset's imagesTr).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compare import lower_is_better, paired, read_evaluation, values
from benchmarks.comparison_tables import difference_cells, mean_cell, mean_over_seeds
from benchmarks.nnunet_training import (
    Budget,
    make_dataset,
    make_trainer,
    predict_scans,
    seed_everything,
    use_folders,
)
from benchmarks.resumable import add_minutes, in_time, same_as_before
from clisc_nnunet.errors import EXIT_DONE, UserError, named
from clisc_nnunet.evaluation.case_scores import score_pair
from clisc_nnunet.evaluation.mask_pairs import Pair
from clisc_nnunet.evaluation.tables import markdown, shown, to_json
from clisc_nnunet.io.atomic_write import write_text
from clisc_nnunet.io.volume import read_geometry, write_volume

FOLDS = 5
DRAWN = "pseudo-labels"
ARMS = {
    "stock": "stock nnU-Net on pseudo-labels",
    "CLISC": "CLISC",
    "CLISC-restart": "CLISC, with a fresh start",
    "supervised": "stock nnU-Net on true labels",
}
# What differs from the default settings of a round; the other arms are stock nnU-Net.
ROUNDS: dict[str, dict[str, Any]] = {"CLISC": {}, "CLISC-restart": {"restart": True}}
TITLES = {DRAWN: "pseudo-labels themselves", **ARMS}
# What is compared with what, second minus first.
COMPARISONS = (
    ("stock", "CLISC"),
    ("stock", "CLISC-restart"),
    (DRAWN, "CLISC"),
    ("supervised", "CLISC"),
    (DRAWN, "stock"),
)
MEASURES = {"dice": "Dice", "hd95_mm": "HD95 (mm)", "surface_dice": "surface Dice, 1 mm"}
TOLERANCE_MM = 1.0

ByMeasure = Mapping[str, Mapping[str, float]]
"""Scores by measure and case, of the cases that are finished."""
Scores = Mapping[str, Mapping[int, ByMeasure]]
"""Such scores by arm and seed."""


def make_folds(cases: Sequence[str], folds: int) -> list[dict[str, list[str]]]:
    """`train` and `val` of each fold; the same for the same cases. One fold: all are both."""
    order = np.random.default_rng(0).permutation(sorted(cases)).tolist()
    if folds == 1:
        return [{"train": sorted(order), "val": sorted(order)}]
    held_out = [sorted(order[k::folds]) for k in range(folds)]
    return [{"train": sorted({*order} - {*fold}), "val": fold} for fold in held_out]


@dataclass(frozen=True)
class CrossValidation:
    """Two datasets of the same scans and folds: pseudo-labels and references.

    Parameters
    ----------
    dataset, references, out : Path
    budget : Budget
    spacing : float
        Millimetres, to which the scans are resampled.
    fold_count : int
    """

    dataset: Path
    references: Path
    out: Path
    budget: Budget
    spacing: float = 3.0
    fold_count: int = FOLDS
    scans: dict[str, Path] = field(init=False)
    folds: list[dict[str, list[str]]] = field(init=False)

    def __post_init__(self) -> None:
        images = sorted((self.dataset / "imagesTr").glob("*_0000.nii.gz"))
        scans = {path.name.removesuffix("_0000.nii.gz"): path for path in images}
        least = max(self.fold_count, 2)
        if len(scans) < least:
            raise UserError(
                self.dataset, f"{len(scans)} scans", f"{least} or more", "check -d, or add scans"
            )
        missing = [case for case in scans if not self.truth(case).is_file()]
        if missing:
            expected = f"CASE.nii.gz for each scan of {self.dataset}"
            found = f"no reference for {named(missing)}"
            raise UserError(self.references, found, expected, "check that the names agree")
        object.__setattr__(self, "scans", scans)
        object.__setattr__(self, "folds", make_folds(list(scans), self.fold_count))

    def truth(self, case: str) -> Path:
        """Reference of a case."""
        return self.references / f"{case}.nii.gz"

    def drawn(self, case: str) -> Path:
        """Pseudo-label of a case."""
        return self.dataset / "labelsTr" / f"{case}.nii.gz"

    def predictions(self, arm: str, seed: int) -> Path:
        """Folder of predictions, with folds each by the network that has not seen the case."""
        return self.out / "predictions" / f"{arm}_seed{seed}"

    def result(self, arm: str, seed: int, fold: int) -> Path:
        """File that is there when an arm is done with a fold."""
        return self.out / "results" / f"{arm}_seed{seed}_fold{fold}.json"

    def run(self, arm: str, seed: int, fold: int) -> None:
        """Train, predict and score one arm on one fold, as far as that is not done."""
        result, cases = self.result(arm, seed, fold), self.folds[fold]["val"]
        if result.exists():
            return
        print(f"== seed {seed}, fold {fold}, {ARMS[arm]}", flush=True)
        folder = self.predictions(arm, seed)
        files = {case: folder / f"{case}.nii.gz" for case in cases}
        if not all(file.exists() for file in files.values()):
            for case, mask in predict_scans(self._trained(arm, seed, fold), cases).items():
                write_volume(files[case], mask, read_geometry(self.scans[case]))
        # Tells clisc_estimate_quality which SAM to ask, and how slices were cut.
        shutil.copy(self.dataset / "dataset.json", folder)
        self._score(result, files)

    def scores(self, seeds: Sequence[int]) -> Scores:
        """Scores of what is finished; those of the pseudo-labels are the same for all seeds."""
        drawn = self.out / "results" / f"{DRAWN}.json"
        if not drawn.exists():
            self._score(drawn, {case: self.drawn(case) for case in self.scans})
        found: dict[str, dict[int, ByMeasure]] = {DRAWN: dict.fromkeys(seeds, _by_measure([drawn]))}
        for arm in ARMS:
            for seed in seeds:
                files = (self.result(arm, seed, fold) for fold in range(self.fold_count))
                if finished := [file for file in files if file.exists()]:
                    found.setdefault(arm, {})[seed] = _by_measure(finished)
        return found

    def _trained(self, arm: str, seed: int, fold: int) -> Any:
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

        from clisc_nnunet.trainers.nnUNetTrainerCLISC import nnUNetTrainerCLISC
        from clisc_nnunet.trainers.round_settings import RoundSettings

        number, labels = (702, self.truth) if arm == "supervised" else (701, self.drawn)
        content = json.loads((self.dataset / "dataset.json").read_text(encoding="utf-8"))
        name = make_dataset(
            self.out,
            number,
            self.scans,
            {case: labels(case) for case in self.scans},
            self.folds,
            content.get("clisc", {}),
            self.spacing,
        )
        base, rounds = (
            (nnUNetTrainerCLISC, replace(RoundSettings(), **ROUNDS[arm]))
            if arm in ROUNDS
            else (nnUNetTrainer, None)
        )
        folder = self.out / f"{arm}_seed{seed}"
        trainer = make_trainer(name, fold, folder, base, self.budget, rounds)
        seed_everything(seed)
        trainer.run_training()
        return trainer

    def _score(self, result: Path, predictions: Mapping[str, Path]) -> None:
        rows = [
            asdict(score_pair(Pair(case, path, self.truth(case)), (), TOLERANCE_MM))
            for case, path in predictions.items()
        ]
        write_text(result, to_json({"cases": rows}))


def _by_measure(files: Sequence[Path]) -> ByMeasure:
    evaluations = [read_evaluation(file) for file in files]
    return {
        measure: {case: v for found in evaluations for case, v in values(found, measure).items()}
        for measure in MEASURES
    }


def tables(scores: Scores, cases: Sequence[str]) -> str:
    """Markdown of what is finished: means, differences, Dice by case.

    Parameters
    ----------
    scores : Scores
        The pseudo-labels' of all cases among them.
    cases : sequence of str
        All of them, finished or not.
    """
    averages = {arm: _averages(by_seed, list(by_seed)) for arm, by_seed in scores.items()}
    means = [
        {
            "what": TITLES[arm],
            "cases": f"{len(found['dice'])} of {len(cases)}",
            **{title: mean_cell(measure, found[measure]) for measure, title in MEASURES.items()},
            "Dice by seed": _by_seed(scores[arm]) if arm != DRAWN else "",
        }
        for arm, found in averages.items()
    ]
    differences = [
        _difference(scores, first, second, measure)
        for first, second in COMPARISONS
        if first in scores and second in scores
        for measure in MEASURES
    ]
    by_case = [
        {"case": case}
        | {
            TITLES[arm]: shown("dice", found["dice"][case]) if case in found["dice"] else ""
            for arm, found in averages.items()
        }
        for case in sorted(cases)
    ]
    parts = [
        "Mean, with its 95 % interval by bootstrap over the cases; of each case its mean over the "
        "seeds:\n\n" + markdown(means),
        "Second minus first on the cases and seeds that both have, paired:\n\n"
        + markdown(differences)
        if differences
        else "No arm is finished with any fold yet.",
        "Dice by case:\n\n" + markdown(by_case),
    ]
    return "\n\n".join(parts)


def _averages(by_seed: Mapping[int, ByMeasure], seeds: Sequence[int]) -> ByMeasure:
    """By measure and case, over the seeds; of the cases that all of them have."""
    shared = set.intersection(*(set(by_seed[seed]["dice"]) for seed in seeds))
    return {
        measure: mean_over_seeds(
            [{case: by_seed[seed][measure][case] for case in sorted(shared)} for seed in seeds]
        )
        for measure in MEASURES
    }


def _by_seed(by_seed: Mapping[int, ByMeasure]) -> str:
    return " ".join(
        f"{np.mean(list(found['dice'].values())):.3f} ({seed})" for seed, found in by_seed.items()
    )


def _difference(scores: Scores, first: str, second: str, measure: str) -> dict[str, str]:
    shared = sorted(scores[first].keys() & scores[second].keys())
    before, after = (
        _averages(scores[arm], shared)[measure] if shared else {} for arm in (first, second)
    )
    found = paired(before, after, lower_is_better=lower_is_better(measure))
    return {
        "first": TITLES[first],
        "second": TITLES[second],
        "of": MEASURES[measure],
        "seeds": str(len(shared)),
        "cases": str(found.cases),
        **difference_cells(measure, found),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing and print the tables; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-d", type=Path, required=True, help="raw dataset with pseudo-labels")
    parser.add_argument("-r", type=Path, required=True, help="folder of references")
    parser.add_argument("-o", type=Path, required=True, help="output folder")
    parser.add_argument(
        "--arms", nargs="+", default=["stock", "CLISC", "supervised"], choices=list(ARMS)
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--folds", type=int, default=FOLDS, help="1: learn from all, score the same"
    )
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--iterations", type=int, default=Budget.iterations)
    parser.add_argument("--spacing", type=float, default=3.0, help="mm")
    parser.add_argument("--threads", type=int, default=1)
    add_minutes(parser)
    options = parser.parse_args(argv)
    import torch

    torch.set_num_threads(options.threads)
    out: Path = options.o.resolve()
    budget = Budget(options.epochs, options.iterations)
    try:
        bench = CrossValidation(options.d, options.r, out, budget, options.spacing, options.folds)
        same_as_before(
            out / "call.json",
            dataset=str(options.d.resolve()),
            cases=sorted(bench.scans),
            spacing=options.spacing,
            folds=options.folds,
            **asdict(budget),
        )
        use_folders(out)
        # Fold by fold, so that the arms can be compared early.
        pieces = product(options.seeds, range(options.folds), options.arms)
        for seed, fold, arm in in_time(pieces, options.minutes):
            bench.run(arm, seed, fold)
        print(tables(bench.scores(options.seeds), list(bench.scans)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
