"""Whether the filter finds spoilt pseudo-labels, and what the network gains.

    python -m benchmarks.filter_control -i PHANTOMS -o OUT [--seeds 0 1 2] [--arms ...]

30 % of the training phantoms get a spoilt label, or another share by `--spoilt`; with none, the
table shows what a round costs where labels are good. A network learns from these labels for a
quarter of the schedule; from that one checkpoint on, each arm goes its own way to the end. `clean`
learns from the true labels from the start. All are scored on phantoms that none of them has seen.
Every finished part is kept: a run that was stopped, also by `--minutes`, goes on with the same
command, and the table shows what is finished so far.
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
    HalfWay,
    make_dataset,
    make_trainer,
    predict_scans,
    seed_everything,
    use_folders,
)
from benchmarks.resumable import add_minutes, in_time, same_as_before
from benchmarks.spoilt_labels import spoil, spoilt_cases
from clisc_nnunet.errors import EXIT_DONE, UserError
from clisc_nnunet.evaluation.tables import markdown
from clisc_nnunet.io.atomic_write import atomic_file, write_text
from clisc_nnunet.io.volume import read_geometry, read_mask, read_volume, write_volume
from clisc_nnunet.metrics import dice
from clisc_nnunet.s3f.case_selection import CaseAgreement, select_cases

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
    "restart": True,
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
    "restart": {"restart": True},
    "round halfway": {"rounds": (0.5,)},
    **{
        # The share alone decides.
        f"keep {ratio}": {"keep_ratio": ratio, "min_similarity": 0.0}
        for ratio in (0.6, 0.7, 0.8, 0.9)
    },
    "two rounds": {"rounds": (0.25, 0.5)},
    "two rounds, no way back": {"rounds": (0.25, 0.5), "readmit": False},
    "two rounds, restart": {"rounds": (0.25, 0.5), "restart": True},
    "three rounds": {"rounds": (0.25, 0.5, 0.75)},
}
# What the others are compared with.
BASE = "none"


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing and print the table; returns the exit status."""
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
    parser.add_argument("--spoilt", type=float, default=0.3, help="share of labels to spoil")
    parser.add_argument("--epochs", type=int, default=Budget.epochs)
    parser.add_argument("--iterations", type=int, default=Budget.iterations)
    parser.add_argument("--threads", type=int, default=1)
    add_minutes(parser)
    options = parser.parse_args(argv)
    out: Path = options.o.resolve()
    budget = Budget(options.epochs, options.iterations)
    try:
        same_as_before(
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
    pieces = [(seed, arm) for seed in options.seeds for arm in options.arms]
    for seed, arm in in_time(pieces, options.minutes):
        _run_arm(
            options.i, out, seed, arm, budget, options.held_out, options.spoilt, options.threads
        )
    finished = read_finished(out, options.seeds, options.arms)
    print(table(finished) if finished else "no arm is finished yet: the same command goes on")
    return EXIT_DONE


def _run_arm(
    phantoms: Path,
    out: Path,
    seed: int,
    arm: str,
    budget: Budget,
    held_out: int,
    spoilt: float,
    threads: int,
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
        labels = _spoilt_labels(out, scans, truths, train, spoilt, seed)
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
    write_text(result, json.dumps(facts))
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
            with atomic_file(kept) as temporary:
                shutil.copy(Path(trainer.output_folder) / "checkpoint_latest.pth", temporary)
    return kept


def _spoilt_labels(
    out: Path,
    scans: dict[str, Path],
    truths: dict[str, Path],
    train: list[str],
    share: float,
    seed: int,
) -> dict[str, Path]:
    """Label files of a seed; beside the spoilt ones, `kinds.json` says which they are and how."""
    rng = np.random.default_rng(seed)
    kinds = spoilt_cases(train, share, rng)
    folder, files = out / f"labels{seed}", dict(truths)
    folder.mkdir(exist_ok=True)
    for case, kind in kinds.items():
        files[case] = folder / f"{case}.nii.gz"
        other = truths[train[(train.index(case) + 1) % len(train)]]
        scan = read_volume(scans[case])
        label = read_mask(truths[case], scan.geometry)
        # Drawn each time: the draws of the labels that are still to come hang on it.
        wrong = spoil(label, scan.array != 0, read_volume(other).array > 0, kind, rng)
        if not files[case].exists():
            write_volume(files[case], wrong.astype(np.uint8), scan.geometry)
    write_text(folder / "kinds.json", json.dumps(kinds))
    return files


@dataclass(frozen=True)
class Result:
    """What an arm came to with a seed.

    Parameters
    ----------
    dice : dict of case to float
        Of the phantoms that nobody has learnt from.
    first_round : dict of case to dict
        What the first round found; empty without rounds.
    spoilt : dict of case to str
        Cases to learn from whose label was spoilt, and how.
    """

    dice: dict[str, float]
    first_round: dict[str, dict[str, Any]]
    spoilt: dict[str, str]


def read_finished(
    out: Path, seeds: Sequence[int], arms: Sequence[str]
) -> dict[str, dict[int, Result]]:
    """Results by arm and seed of what is finished; arms without any are left out."""
    found: dict[str, dict[int, Result]] = {}
    for arm in arms:
        for seed in seeds:
            file = _result(out, seed, arm)
            if file.exists():
                facts = json.loads(file.read_text())
                first, spoilt = {}, {}
                if facts["rounds"]:
                    first = facts["rounds"][0]["cases"]
                    spoilt = json.loads((out / f"labels{seed}" / "kinds.json").read_text())
                found.setdefault(arm, {})[seed] = Result(facts["dice"], first, spoilt)
    return found


def table(finished: Mapping[str, Mapping[int, Result]]) -> str:
    """Markdown: Dice of each arm, its difference to `BASE`, and what its first round finds.

    Parameters
    ----------
    finished : mapping of arm to seed to Result
        The difference is taken case by case, of the mean over the seeds that both have.
    """
    rows = []
    for arm, by_seed in finished.items():
        shared = sorted(by_seed.keys() & finished.get(BASE, {}).keys())
        change = paired({}, {}, lower_is_better=False)
        if shared and arm != BASE:
            theirs, mine = (
                mean_over_seeds([results[seed].dice for seed in shared])
                for results in (finished[BASE], by_seed)
            )
            change = paired(theirs, mine, lower_is_better=False)
        with_round = [result for result in by_seed.values() if result.first_round]
        rows.append(
            {
                "arm": arm,
                "Dice by seed": ", ".join(
                    f"{np.mean(list(result.dice.values())):.3f} ({seed})"
                    for seed, result in by_seed.items()
                ),
                "mean": mean_cell("dice", mean_over_seeds([r.dice for r in by_seed.values()])),
                **difference_cells("dice", change),
            }
            | {
                f"spoilt rejected / good kept at {keep}": _detection(with_round, keep)
                for keep in KEEP_RATIOS
            }
        )
    return markdown(rows)


def _detection(results: Sequence[Result], keep: float) -> str:
    """Shares of spoilt cases rejected and of good ones kept, had a round kept this share."""
    rejected, kept = [], []
    for result in results:
        judged = {
            case: CaseAgreement(known["similarity"], not known["volume_predicted_ml"])
            for case, known in result.first_round.items()
        }
        for case, decision in select_cases(judged, keep).items():
            spoilt = case in result.spoilt
            (rejected if spoilt else kept).append(decision.kept != spoilt)
    return f"{np.mean(rejected):.2f} / {np.mean(kept):.2f}" if rejected and kept else ""


if __name__ == "__main__":
    sys.exit(main())
