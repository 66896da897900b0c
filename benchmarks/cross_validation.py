"""Self-learning on real scans, scored out of fold.

    python -m benchmarks.cross_validation -d nnUNet_raw/Dataset501_CLISC -r REFERENCES -o OUT

The dataset is what clisc_make_pseudo_dataset has written. Its cases are split into five fixed
folds; every arm is scored on cases that it has not learnt from:

stock        stock nnU-Net on the pseudo-labels
CLISC        nnUNetTrainerCLISC on the pseudo-labels, with the rounds of the default settings
supervised   stock nnU-Net on the references: the ceiling

All have the same network, schedule and seed. The pseudo-labels of the scored cases, drawn by CLIP
and SAM, stand beside them. References are opened for scoring, and by `supervised` for training.
Every finished part is kept: a run that was stopped, also by `--minutes`, goes on with the same
command, and the tables show what is finished so far. Predictions lie in OUT/predictions/ARM, for

    python -m benchmarks.quality_ranking -i SCANS -p OUT/predictions/CLISC -r REFERENCES

(SCANS may be the dataset's imagesTr).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arms import difference_cells, mean_cell
from benchmarks.compare import lower_is_better, paired, read_evaluation, values
from benchmarks.pieces import add_minutes, in_time, same_as_before
from benchmarks.short_training import (
    Budget,
    make_dataset,
    make_trainer,
    predict_scans,
    seed_everything,
    use_folders,
)
from clisc_nnunet.errors import EXIT_DONE, UserError, named
from clisc_nnunet.evaluation.case_scores import score_pair
from clisc_nnunet.evaluation.pairs import Pair
from clisc_nnunet.evaluation.tables import markdown, shown, to_json
from clisc_nnunet.store import write_text
from clisc_nnunet.volume import read_geometry, write_volume

FOLDS = 5
DRAWN = "pseudo-labels"
ARMS = {
    "stock": "stock nnU-Net on pseudo-labels",
    "CLISC": "CLISC",
    "supervised": "stock nnU-Net on true labels",
}
TITLES = {DRAWN: "pseudo-labels themselves", **ARMS}
# What is compared with what, second minus first.
COMPARISONS = (("stock", "CLISC"), (DRAWN, "CLISC"), ("supervised", "CLISC"), (DRAWN, "stock"))
MEASURES = {"dice": "Dice", "hd95_mm": "HD95 (mm)", "surface_dice": "surface Dice, 1 mm"}
TOLERANCE_MM = 1.0

Scores = Mapping[str, Mapping[str, Mapping[str, float]]]
"""By arm, measure and case, of the cases that are finished."""


def make_folds(cases: Sequence[str]) -> list[dict[str, list[str]]]:
    """`train` and `val` of each fold; the same for the same cases."""
    order = np.random.default_rng(0).permutation(sorted(cases)).tolist()
    held_out = [sorted(order[k::FOLDS]) for k in range(FOLDS)]
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
    seed : int
    """

    dataset: Path
    references: Path
    out: Path
    budget: Budget
    spacing: float = 3.0
    seed: int = 0
    scans: dict[str, Path] = field(init=False)
    folds: list[dict[str, list[str]]] = field(init=False)

    def __post_init__(self) -> None:
        images = sorted((self.dataset / "imagesTr").glob("*_0000.nii.gz"))
        scans = {path.name.removesuffix("_0000.nii.gz"): path for path in images}
        if len(scans) < FOLDS:
            raise UserError(
                self.dataset, f"{len(scans)} scans", f"{FOLDS} or more", "check -d, or add scans"
            )
        missing = [case for case in scans if not self.truth(case).is_file()]
        if missing:
            expected = f"CASE.nii.gz for each scan of {self.dataset}"
            found = f"no reference for {named(missing)}"
            raise UserError(self.references, found, expected, "check that the names agree")
        object.__setattr__(self, "scans", scans)
        object.__setattr__(self, "folds", make_folds(list(scans)))

    def truth(self, case: str) -> Path:
        """Reference of a case."""
        return self.references / f"{case}.nii.gz"

    def drawn(self, case: str) -> Path:
        """Pseudo-label of a case."""
        return self.dataset / "labelsTr" / f"{case}.nii.gz"

    def predictions(self, arm: str) -> Path:
        """Folder of predictions, each by the network that has not learnt from the case."""
        return self.out / "predictions" / arm

    def result(self, arm: str, fold: int) -> Path:
        """File that is there when an arm is done with a fold."""
        return self.out / "results" / f"{arm}_fold{fold}.json"

    def run(self, arm: str, fold: int) -> None:
        """Train, predict and score one arm on one fold, as far as that is not done."""
        result, cases = self.result(arm, fold), self.folds[fold]["val"]
        if result.exists():
            return
        print(f"== fold {fold}, {ARMS[arm]}", flush=True)
        files = {case: self.predictions(arm) / f"{case}.nii.gz" for case in cases}
        if not all(file.exists() for file in files.values()):
            for case, mask in predict_scans(self._trained(arm, fold), cases).items():
                write_volume(files[case], mask, read_geometry(self.scans[case]))
        # Tells clisc_estimate_quality which SAM to ask, and how slices were cut.
        shutil.copy(self.dataset / "dataset.json", self.predictions(arm))
        self._score(result, files)

    def scores(self) -> dict[str, dict[str, dict[str, float]]]:
        """Scores of what is finished; see `Scores`."""
        drawn = self.out / "results" / f"{DRAWN}.json"
        if not drawn.exists():
            self._score(drawn, {case: self.drawn(case) for case in self.scans})
        files = {DRAWN: [drawn]} | {
            arm: [path for fold in range(FOLDS) if (path := self.result(arm, fold)).exists()]
            for arm in ARMS
        }
        found: dict[str, dict[str, dict[str, float]]] = {}
        for arm, paths in files.items():
            if paths:
                found[arm] = {measure: {} for measure in MEASURES}
            for evaluation in map(read_evaluation, paths):
                for measure in MEASURES:
                    found[arm][measure] |= values(evaluation, measure)
        return found

    def _trained(self, arm: str, fold: int) -> Any:
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
            (nnUNetTrainerCLISC, RoundSettings()) if arm == "CLISC" else (nnUNetTrainer, None)
        )
        trainer = make_trainer(name, fold, self.out / arm, base, self.budget, rounds)
        seed_everything(self.seed)
        trainer.run_training()
        return trainer

    def _score(self, result: Path, predictions: Mapping[str, Path]) -> None:
        rows = [
            asdict(score_pair(Pair(case, path, self.truth(case)), (), TOLERANCE_MM))
            for case, path in predictions.items()
        ]
        write_text(result, to_json({"cases": rows}))


def tables(scores: Scores, cases: Sequence[str]) -> str:
    """Markdown of what is finished: means, differences, Dice by case.

    Parameters
    ----------
    scores : Scores
        The pseudo-labels' of all cases among them.
    cases : sequence of str
        All of them, finished or not.
    """
    means = [
        {
            "what": TITLES[arm],
            "cases": f"{len(found['dice'])} of {len(cases)}",
            **{title: mean_cell(measure, found[measure]) for measure, title in MEASURES.items()},
        }
        for arm, found in scores.items()
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
            for arm, found in scores.items()
        }
        for case in sorted(cases)
    ]
    parts = [
        "Mean, with its 95 % interval by bootstrap over the cases:\n\n" + markdown(means),
        "Second minus first on the cases that both have, paired:\n\n" + markdown(differences)
        if differences
        else "No arm is finished with any fold yet.",
        "Dice by case:\n\n" + markdown(by_case),
    ]
    return "\n\n".join(parts)


def _difference(scores: Scores, first: str, second: str, measure: str) -> dict[str, str]:
    found = paired(
        scores[first][measure],
        scores[second][measure],
        lower_is_better=lower_is_better(measure),
    )
    return {
        "first": TITLES[first],
        "second": TITLES[second],
        "of": MEASURES[measure],
        "cases": str(found.cases),
        **difference_cells(measure, found),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing and print the tables; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-d", type=Path, required=True, help="raw dataset with pseudo-labels")
    parser.add_argument("-r", type=Path, required=True, help="folder of references")
    parser.add_argument("-o", type=Path, required=True, help="output folder")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--iterations", type=int, default=Budget.iterations)
    parser.add_argument("--spacing", type=float, default=3.0, help="mm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    add_minutes(parser)
    options = parser.parse_args(argv)
    import torch

    torch.set_num_threads(options.threads)
    out: Path = options.o.resolve()
    budget = Budget(options.epochs, options.iterations)
    try:
        bench = CrossValidation(options.d, options.r, out, budget, options.spacing, options.seed)
        same_as_before(
            out / "call.json",
            dataset=str(options.d.resolve()),
            cases=sorted(bench.scans),
            spacing=options.spacing,
            seed=options.seed,
            **asdict(budget),
        )
        use_folders(out)
        # Fold by fold, so that the arms can be compared early.
        pieces = [(arm, fold) for fold in range(FOLDS) for arm in options.arms]
        for arm, fold in in_time(pieces, options.minutes):
            bench.run(arm, fold)
        print(tables(bench.scores(), list(bench.scans)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
