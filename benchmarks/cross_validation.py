"""Cross-validation of self-learning on real scans.

    python -m benchmarks.cross_validation -d nnUNet_raw/Dataset501_CLISC -r REFERENCES -o OUT

The dataset was written by clisc_make_pseudo_dataset. Its cases are split into five fixed folds
(`--folds`); every variant (`--arms`) is scored on cases that it was not trained on:

stock           stock nnU-Net on the pseudo-labels
CLISC           nnUNetTrainerCLISC on the pseudo-labels, with the rounds of the default settings
CLISC-vote      the same, but with majority votes instead of probabilities as labels
CLISC-cases     the same, but with cases rejected and labels as they are
CLISC-restart   the same, but with a restart after the round, as in the paper
phantoms        nnUNetTrainerCLISC without rounds, from the bundled phantom network
phantoms-fast   the same, with nnU-Net's own learning rate
random          the same, from random weights
supervised      stock nnU-Net on the references: the upper bound

With `--folds 1` training and scoring use all cases, as in `nnUNetv2_train DATASET 3d_fullres all`
followed by prediction of the same scans; `supervised` is then no upper bound, as it was trained on
the references of the scored cases. All variants have the same network, schedule and seeds; scores
are averaged over `--seeds` for each case. Scores of the pseudo-labels themselves are listed, too.
References are only used for scoring, and by `supervised` for training. The same command resumes an
interrupted run (also by `--minutes`), and the tables contain what is finished so far. Predictions
are in OUT/predictions/ARM_seedN, for

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
from benchmarks.resumable import add_minutes, check_same_settings, until_deadline
from clisc_nnunet.errors import EXIT_DONE, UserError, named
from clisc_nnunet.evaluation.case_scores import score_pair
from clisc_nnunet.evaluation.mask_pairs import Pair
from clisc_nnunet.evaluation.tables import markdown, shown, to_json
from clisc_nnunet.io.atomic_write import write_text
from clisc_nnunet.io.volume import read_geometry, write_volume

FOLDS = 5
DRAWN = "pseudo-labels"
VARIANTS = {
    "stock": "stock nnU-Net on pseudo-labels",
    "CLISC": "CLISC",
    "CLISC-restart": "CLISC, with restart",
    "CLISC-vote": "CLISC, majority votes instead of probabilities",
    "CLISC-cases": "CLISC, cases rejected, labels as they are",
    "phantoms": "from phantoms, without rounds",
    "phantoms-fast": "the same, learning rate 0.01",
    "random": "from random weights, without rounds",
    "supervised": "stock nnU-Net on true labels",
}
# Changes to the default settings of a round; variants not listed here are stock nnU-Net.
ROUNDS: dict[str, dict[str, Any]] = {
    "CLISC": {},
    "CLISC-restart": {"restart": True},
    "CLISC-vote": {"relabel": "vote"},
    "CLISC-cases": {"relabel": "none"},
    "phantoms": {"rounds": ()},
    "phantoms-fast": {"rounds": (), "fine_tuning_rate": 0.01},
    "random": {"rounds": (), "start": "random"},
}
TITLES = {DRAWN: "pseudo-labels themselves", **VARIANTS}
# Comparisons, second minus first.
COMPARISONS = (
    ("stock", "CLISC"),
    ("stock", "CLISC-restart"),
    (DRAWN, "CLISC"),
    (DRAWN, "phantoms"),
    (DRAWN, "random"),
    ("random", "phantoms"),
    ("phantoms-fast", "phantoms"),
    ("phantoms", "CLISC"),
    ("supervised", "CLISC"),
    (DRAWN, "stock"),
)
MEASURES = {"dice": "Dice", "hd95_mm": "HD95 (mm)", "surface_dice": "surface Dice, 1 mm"}
TOLERANCE_MM = 1.0

ByMeasure = Mapping[str, Mapping[str, float]]
"""Scores of finished cases, by measure and case."""
Scores = Mapping[str, Mapping[int, ByMeasure]]
"""Scores by variant and seed."""


def make_folds(cases: Sequence[str], folds: int) -> list[dict[str, list[str]]]:
    """`train` and `val` of each fold, deterministic; with one fold, both are all cases."""
    order = np.random.default_rng(0).permutation(sorted(cases)).tolist()
    if folds == 1:
        return [{"train": sorted(order), "val": sorted(order)}]
    held_out = [sorted(order[k::folds]) for k in range(folds)]
    return [{"train": sorted({*order} - {*fold}), "val": fold} for fold in held_out]


@dataclass(frozen=True)
class CrossValidation:
    """Two datasets with the same scans and folds: pseudo-labels and references.

    Parameters
    ----------
    dataset, references, out : Path
        Folders, as on the command line.
    budget : Budget
    spacing : float
        Spacing in millimetres to which scans are resampled.
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
            raise UserError(self.references, found, expected, "check that the names match")
        object.__setattr__(self, "scans", scans)
        object.__setattr__(self, "folds", make_folds(list(scans), self.fold_count))

    def truth(self, case: str) -> Path:
        """Reference of a case."""
        return self.references / f"{case}.nii.gz"

    def drawn(self, case: str) -> Path:
        """Pseudo-label of a case."""
        return self.dataset / "labelsTr" / f"{case}.nii.gz"

    def predictions(self, variant: str, seed: int) -> Path:
        """Folder of predictions; each by the network that was not trained on the case."""
        return self.out / "predictions" / f"{variant}_seed{seed}"

    def result(self, variant: str, seed: int, fold: int) -> Path:
        """File that exists when a variant is finished with a fold."""
        return self.out / "results" / f"{variant}_seed{seed}_fold{fold}.json"

    def run(self, variant: str, seed: int, fold: int) -> None:
        """Train, predict and score one variant on one fold, skipping finished steps."""
        result, cases = self.result(variant, seed, fold), self.folds[fold]["val"]
        if result.exists():
            return
        print(f"== seed {seed}, fold {fold}, {VARIANTS[variant]}", flush=True)
        folder = self.predictions(variant, seed)
        files = {case: folder / f"{case}.nii.gz" for case in cases}
        if not all(file.exists() for file in files.values()):
            for case, mask in predict_scans(self.train_network(variant, seed, fold), cases).items():
                write_volume(files[case], mask, read_geometry(self.scans[case]))
        # clisc_estimate_quality reads SAM and slice settings from it.
        shutil.copy(self.dataset / "dataset.json", folder)
        self._score(result, files)

    def scores(self, seeds: Sequence[int]) -> Scores:
        """Scores of finished runs; those of the pseudo-labels are the same for all seeds."""
        drawn = self.out / "results" / f"{DRAWN}.json"
        if not drawn.exists():
            self._score(drawn, {case: self.drawn(case) for case in self.scans})
        found: dict[str, dict[int, ByMeasure]] = {DRAWN: dict.fromkeys(seeds, _by_measure([drawn]))}
        for variant in VARIANTS:
            for seed in seeds:
                files = (self.result(variant, seed, fold) for fold in range(self.fold_count))
                if finished := [file for file in files if file.exists()]:
                    found.setdefault(variant, {})[seed] = _by_measure(finished)
        return found

    def train_network(self, variant: str, seed: int, fold: int) -> Any:
        """Train the network of a variant; returns nnU-Net's trainer."""
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

        from clisc_nnunet.trainers.nnUNetTrainerCLISC import nnUNetTrainerCLISC
        from clisc_nnunet.trainers.round_settings import RoundSettings

        number, labels = (702, self.truth) if variant == "supervised" else (701, self.drawn)
        content = json.loads((self.dataset / "dataset.json").read_text(encoding="utf-8"))
        name = make_dataset(
            self.out,
            number,
            self.scans,
            {case: labels(case) for case in self.scans},
            self.folds,
            content.get("clisc", {}),
            self.spacing,
            self.dataset / "clisc" / "stages",
        )
        base, rounds = (
            (nnUNetTrainerCLISC, replace(RoundSettings(), **ROUNDS[variant]))
            if variant in ROUNDS
            else (nnUNetTrainer, None)
        )
        folder = self.out / f"{variant}_seed{seed}"
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
    """Markdown tables of finished runs: means, differences, Dice by case.

    Parameters
    ----------
    scores : Scores
        Includes those of the pseudo-labels of all cases.
    cases : sequence of str
        All cases, finished or not.
    """
    averages = {variant: _averages(by_seed, list(by_seed)) for variant, by_seed in scores.items()}
    means = [
        {
            "what": TITLES[variant],
            "cases": f"{len(found['dice'])} of {len(cases)}",
            **{title: mean_cell(measure, found[measure]) for measure, title in MEASURES.items()},
            "Dice by seed": _by_seed(scores[variant]) if variant != DRAWN else "",
        }
        for variant, found in averages.items()
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
            TITLES[variant]: shown("dice", found["dice"][case]) if case in found["dice"] else ""
            for variant, found in averages.items()
        }
        for case in sorted(cases)
    ]
    parts = [
        "Mean over cases (averaged over seeds) with its 95 % bootstrap interval:\n\n"
        + markdown(means),
        "Second minus first, paired, on common cases and seeds:\n\n" + markdown(differences)
        if differences
        else "No variant is finished with any fold yet.",
        "Dice by case:\n\n" + markdown(by_case),
    ]
    return "\n\n".join(parts)


def _averages(by_seed: Mapping[int, ByMeasure], seeds: Sequence[int]) -> ByMeasure:
    """Scores by measure and case, averaged over seeds, for the cases that all seeds have."""
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
        _averages(scores[variant], shared)[measure] if shared else {} for variant in (first, second)
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
    """Run the missing parts and print the tables; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-d", type=Path, required=True, help="raw dataset with pseudo-labels")
    parser.add_argument("-r", type=Path, required=True, help="folder of references")
    parser.add_argument("-o", type=Path, required=True, help="output folder")
    parser.add_argument(
        "--arms", nargs="+", default=["stock", "CLISC", "supervised"], choices=list(VARIANTS)
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--folds", type=int, default=FOLDS, help="1: train on and score all cases")
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
        check_same_settings(
            out / "call.json",
            dataset=str(options.d.resolve()),
            cases=sorted(bench.scans),
            spacing=options.spacing,
            folds=options.folds,
            **asdict(budget),
        )
        use_folders(out)
        # Variants in the innermost loop, so that they can be compared early.
        tasks = product(options.seeds, range(options.folds), options.arms)
        for seed, fold, variant in until_deadline(tasks, options.minutes):
            bench.run(variant, seed, fold)
        print(tables(bench.scores(options.seeds), list(bench.scans)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
