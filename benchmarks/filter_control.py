"""Test whether filtering detects corrupted pseudo-labels and improves the network.

    python -m benchmarks.filter_control -i PHANTOMS -o OUT [--seeds 0 1 2] [--arms ...]

The labels of 30 % of the training phantoms (`--spoilt`) are corrupted; with 0 %, the table shows
the cost of a round if labels are good. A network is trained on these labels for a quarter of the
schedule; each variant (`--arms`) continues from that checkpoint. `clean` is trained on the true
labels from the start. All are scored on unseen phantoms. The same command resumes an interrupted
run (also by `--minutes`), and the table contains what is finished so far.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compare import paired
from benchmarks.comparison_tables import difference_cells, mean_cell, mean_over_seeds
from benchmarks.nnunet_training import (
    Budget,
    StoppedEarly,
    make_dataset,
    make_trainer,
    predict_scans,
    seed_everything,
    use_folders,
)
from benchmarks.resumable import add_minutes, check_same_settings, until_deadline
from benchmarks.spoilt_labels import choose_corrupted_cases, corrupt
from clisc_nnunet.errors import EXIT_DONE, UserError
from clisc_nnunet.evaluation.tables import markdown
from clisc_nnunet.io.atomic_write import atomic_file, write_text
from clisc_nnunet.io.volume import read_geometry, read_mask, read_volume, write_volume
from clisc_nnunet.metrics import dice
from clisc_nnunet.s3f.case_selection import CaseAgreement, select_cases

# In millimetres; coarse, for training on two cores.
SPACING = 4.0
KEEP_RATIOS = (0.7, 0.8)
# Fraction of the schedule that is common to all variants.
FIRST_ROUND = 0.25
# A round in which the network in training judges; other arms change it.
DEFAULT: dict[str, Any] = {
    "rounds": (FIRST_ROUND,),
    "judge": "network",
    "keep_ratio": 0.8,
    "min_similarity": 0.5,
    "measure": "support",
    "components": "largest",
    "relabel": "none",
}
PAPERS_CHOICES: dict[str, Any] = {
    "min_similarity": 0.0,
    "measure": "sam",
    "looks": "axial",
    "relabel": "network",
    "restart": True,
}
VARIANTS: dict[str, dict[str, Any] | None] = {
    "clean": None,
    "none": {"rounds": ()},
    "default": {},
    "paper's choices": PAPERS_CHOICES,
    "paper's measure": {"measure": "sam"},
    "one look": {"looks": "axial"},
    "votes as labels": {"relabel": "vote"},
    "predictions as labels": {"relabel": "network"},
    "restart": {"restart": True},
    "round halfway": {"rounds": (0.5,)},
    **{
        # Decided by the ratio only.
        f"keep {ratio}": {"keep_ratio": ratio, "min_similarity": 0.0}
        for ratio in (0.6, 0.7, 0.8, 0.9)
    },
    "two rounds": {"rounds": (0.25, 0.5)},
    "two rounds, no way back": {"rounds": (0.25, 0.5), "readmit": False},
    "two rounds, restart": {"rounds": (0.25, 0.5), "restart": True},
    "three rounds": {"rounds": (0.25, 0.5, 0.75)},
}
# The variant with which the others are compared.
BASE = "none"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the missing parts and print the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-i", type=Path, required=True, help="folder of clisc_make_phantoms")
    parser.add_argument("-o", type=Path, required=True, help="output folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--arms",
        nargs="+",
        default=["clean", "none", "default", "paper's choices"],
        choices=list(VARIANTS),
    )
    parser.add_argument("--held-out", type=int, default=10, help="number of phantoms for scoring")
    parser.add_argument("--spoilt", type=float, default=0.3, help="share of labels to corrupt")
    parser.add_argument("--epochs", type=int, default=Budget.epochs)
    parser.add_argument("--iterations", type=int, default=Budget.iterations)
    parser.add_argument("--threads", type=int, default=1)
    add_minutes(parser)
    options = parser.parse_args(argv)
    out: Path = options.o.resolve()
    budget = Budget(options.epochs, options.iterations)
    try:
        check_same_settings(
            out / "call.json",
            phantoms=str(options.i.resolve()),
            held_out=options.held_out,
            spoilt=options.spoilt,
            **asdict(budget),
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    use_folders(out)
    tasks = [(seed, variant) for seed in options.seeds for variant in options.arms]
    for seed, variant in until_deadline(tasks, options.minutes):
        run_variant(
            options.i, out, seed, variant, budget, options.held_out, options.spoilt, options.threads
        )
    finished = read_finished(out, options.seeds, options.arms)
    print(
        table(finished)
        if finished
        else "no variant is finished yet: run the same command again to continue"
    )
    return EXIT_DONE


def run_variant(
    phantoms: Path,
    out: Path,
    seed: int,
    variant: str,
    budget: Budget,
    held_out: int,
    corrupted: float,
    threads: int,
) -> None:
    """Train and score a variant, unless it is finished."""
    import torch

    from clisc_nnunet.trainers.nnUNetTrainerCLISC import nnUNetTrainerCLISC
    from clisc_nnunet.trainers.round_settings import NO_FILTER, RoundSettings

    result = result_file(out, seed, variant)
    if result.exists():
        return
    torch.set_num_threads(threads)
    scans = {p.name: p / f"{p.name}_flair.nii.gz" for p in sorted((phantoms / "images").iterdir())}
    truths = {case: phantoms / "labels" / f"{case}.nii.gz" for case in scans}
    test = sorted(scans)[-held_out:]
    train = [case for case in sorted(scans) if case not in test]
    split = [{"train": train, "val": test}]
    folder = out / result.stem
    if variant == "clean":
        dataset = make_dataset(out, 600, scans, truths, split, {}, SPACING)
        seed_everything(seed)
        trainer = make_trainer(dataset, 0, folder, nnUNetTrainerCLISC, budget, NO_FILTER)
    else:
        labels = _corrupted_labels(out, scans, truths, train, corrupted, seed)
        dataset = make_dataset(out, 601 + seed, scans, labels, split, {}, SPACING)
        warm = _warm_up(out, dataset, seed, budget)
        settings = replace(RoundSettings(), **{**DEFAULT, **(VARIANTS[variant] or {})})
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
    write_text(result, json.dumps(facts))
    print(f"seed {seed}, {variant}: Dice {np.mean(list(facts['dice'].values())):.3f}", flush=True)


def result_file(out: Path, seed: int, variant: str) -> Path:
    """File that exists when a variant is finished."""
    return out / "results" / f"seed{seed}_{re.sub('[^a-z0-9.]+', '_', variant)}.json"


def _warm_up(out: Path, dataset: str, seed: int, budget: Budget) -> Path:
    """Checkpoint after the common part of the schedule, trained on the corrupted labels."""
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
        except StoppedEarly:
            with atomic_file(kept) as temporary:
                shutil.copy(Path(trainer.output_folder) / "checkpoint_latest.pth", temporary)
    return kept


def _corrupted_labels(
    out: Path,
    scans: dict[str, Path],
    truths: dict[str, Path],
    train: list[str],
    share: float,
    seed: int,
) -> dict[str, Path]:
    """Label files of a seed; `kinds.json` lists the corrupted ones and the kind of error."""
    rng = np.random.default_rng(seed)
    kinds = choose_corrupted_cases(train, share, rng)
    folder, files = out / f"labels{seed}", dict(truths)
    folder.mkdir(exist_ok=True)
    for case, kind in kinds.items():
        files[case] = folder / f"{case}.nii.gz"
        other = truths[train[(train.index(case) + 1) % len(train)]]
        scan = read_volume(scans[case])
        label = read_mask(truths[case], scan.geometry)
        # Always computed, so that the random numbers of the following labels do not change.
        wrong = corrupt(label, scan.array != 0, read_volume(other).array > 0, kind, rng)
        if not files[case].exists():
            write_volume(files[case], wrong.astype(np.uint8), scan.geometry)
    write_text(folder / "kinds.json", json.dumps(kinds))
    return files


@dataclass(frozen=True)
class Result:
    """Result of a variant and seed.

    Parameters
    ----------
    dice : dict of case to float
        Of the held-out phantoms.
    first_round : dict of case to dict
        Cases in the report of the first round; empty without rounds.
    corrupted : dict of case to str
        Training cases with a corrupted label, and the kind of error.
    """

    dice: dict[str, float]
    first_round: dict[str, dict[str, Any]]
    corrupted: dict[str, str]


def read_finished(
    out: Path, seeds: Sequence[int], variants: Sequence[str]
) -> dict[str, dict[int, Result]]:
    """Finished results by variant and seed; omits variants without any."""
    found: dict[str, dict[int, Result]] = {}
    for variant in variants:
        for seed in seeds:
            file = result_file(out, seed, variant)
            if file.exists():
                facts = json.loads(file.read_text())
                first, corrupted = {}, {}
                if facts["rounds"]:
                    first = facts["rounds"][0]["cases"]
                    corrupted = json.loads((out / f"labels{seed}" / "kinds.json").read_text())
                found.setdefault(variant, {})[seed] = Result(facts["dice"], first, corrupted)
    return found


def table(finished: Mapping[str, Mapping[int, Result]]) -> str:
    """Markdown table: Dice of each variant, difference to `BASE`, detection by the first round.

    Parameters
    ----------
    finished : mapping of variant to seed to Result
        Differences are paired by case, averaged over common seeds.
    """
    rows = []
    for variant, by_seed in finished.items():
        shared = sorted(by_seed.keys() & finished.get(BASE, {}).keys())
        change = paired({}, {}, lower_is_better=False)
        if shared and variant != BASE:
            theirs, mine = (
                mean_over_seeds([results[seed].dice for seed in shared])
                for results in (finished[BASE], by_seed)
            )
            change = paired(theirs, mine, lower_is_better=False)
        with_round = [result for result in by_seed.values() if result.first_round]
        rows.append(
            {
                "variant": variant,
                "Dice by seed": ", ".join(
                    f"{np.mean(list(result.dice.values())):.3f} ({seed})"
                    for seed, result in by_seed.items()
                ),
                "mean": mean_cell("dice", mean_over_seeds([r.dice for r in by_seed.values()])),
                **difference_cells("dice", change),
            }
            | {
                f"corrupted rejected / good kept at {keep}": _detection(with_round, keep)
                for keep in KEEP_RATIOS
            }
        )
    return markdown(rows)


def _detection(results: Sequence[Result], keep: float) -> str:
    """Share of corrupted cases rejected, and of good ones kept, for a given keep ratio."""
    rejected, kept = [], []
    for result in results:
        agreements = {
            case: CaseAgreement(known["similarity"], not known["volume_predicted_ml"])
            for case, known in result.first_round.items()
        }
        for case, decision in select_cases(agreements, keep).items():
            corrupted = case in result.corrupted
            (rejected if corrupted else kept).append(decision.kept != corrupted)
    return f"{np.mean(rejected):.2f} / {np.mean(kept):.2f}" if rejected and kept else ""


if __name__ == "__main__":
    sys.exit(main())
