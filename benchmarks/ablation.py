"""What each part of the method is worth: the conversion with one thing changed at a time.

    python -m benchmarks.ablation -i SCANS -r REFERENCES -o OUT [--arms NAME ...] [--seeds 0 1 2]

Each arm and seed is a conversion of its own under OUT, that takes over what `default` has made
already where its settings are the same, and an evaluation against the references, in which a case
without a label is an empty mask. What is finished is not made again: with `--minutes` the work
can be done in pieces. The table compares each arm with `default`, case by case, by the mean over
the seeds that both have. Settings are chosen on phantoms; real scans confirm.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.compare import paired, read_evaluation
from benchmarks.comparison_tables import difference_cells, mean_over_seeds
from benchmarks.perfect_labels import perfect_labels
from benchmarks.resumable import add_minutes, in_time
from clisc_nnunet.dataset_conversion.make_pseudo_dataset import main as make_pseudo_dataset
from clisc_nnunet.dataset_conversion.nnunet_dataset import dataset_folder, place_image
from clisc_nnunet.errors import EXIT_DONE, EXIT_NO_TUMOUR, EXIT_SOME_CASES_FAILED, UserError, named
from clisc_nnunet.evaluation.evaluate import EvaluationOptions, evaluate
from clisc_nnunet.evaluation.mask_pairs import find_masks
from clisc_nnunet.evaluation.tables import markdown
from clisc_nnunet.inputs.find_cases import find_cases
from clisc_nnunet.io.atomic_write import write_text
from clisc_nnunet.io.volume import read_geometry, write_volume

DEFAULT = "default"
DATASET = 501


@dataclass(frozen=True)
class Arm:
    """A change of the method: options of `--set`, and whether slice labels are the true ones."""

    options: tuple[str, ...] = ()
    perfect_labels: bool = False


ARMS: dict[str, Arm] = {
    DEFAULT: Arm(),
    "amda-off": Arm(("masking.mode=off",)),
    "amda-as-published-code": Arm(("masking.mode=brightness",)),
    "amda-and-plain-slices": Arm(("masking.keep_plain=true",)),
    "box-only": Arm(("prompts.positive_points=0", "prompts.negative_corners=false")),
    "points-only": Arm(("prompts.box=false",)),
    "margin-0": Arm(("prompts.margin=0",)),
    "margin-10": Arm(("prompts.margin=10",)),
    "no-close-up": Arm(("sam.close_up=0",)),
    "no-second-opinion": Arm(("sam.second_opinion=0",)),
    "axial-alone": Arm(('sam.views=["axial"]', "sam.close_up=0", "roi.fill_gaps=false")),
    "perfect-slice-labels": Arm(perfect_labels=True),
}
"""`default` has AMDA as in the text, box and points, a margin of 3 px, and all looks."""


@dataclass(frozen=True)
class Ablation:
    """Where a run of arms over seeds has its scans and keeps its results."""

    scans: Path
    references: Path
    out: Path
    extra: tuple[str, ...] = ()
    """Further options of the conversion, the same for all arms."""
    processes: int = 1

    def folder(self, arm: str, seed: int) -> Path:
        """Folder of an arm and a seed."""
        return self.out / f"{arm}_seed{seed}"

    def dataset(self, arm: str, seed: int) -> Path:
        """Its dataset."""
        return self.folder(arm, seed) / f"Dataset{DATASET}_CLISC"

    def result(self, arm: str, seed: int) -> Path:
        """File that is there when arm and seed are done."""
        return self.folder(arm, seed) / "evaluation.json"

    def true_masks(self) -> Path:
        """References of these scans alone, linked into one folder.

        Raises
        ------
        UserError
            If a scan has none.
        """
        folder, masks = self.out / "references", find_masks(self.references)
        cases = [case.name for case in find_cases(self.scans).cases]
        missing = [case for case in cases if case not in masks]
        if missing:
            raise UserError(
                self.references,
                f"no reference for {named(missing)}",
                f"one for each scan of {self.scans}",
                "check that the names agree",
            )
        folder.mkdir(parents=True, exist_ok=True)
        for case in cases:
            place_image(masks[case], folder / f"{case}.nii.gz")
        return folder

    def run(self, arm: str, seed: int) -> int:
        """Convert and evaluate; returns an exit status, `EXIT_DONE` also if it was done before."""
        if self.result(arm, seed).exists():
            return EXIT_DONE
        truth = self.true_masks()
        dataset = self.dataset(arm, seed)
        if not dataset.exists():
            dataset_folder(DATASET, "CLISC", self.folder(arm, seed))
            for base in ((DEFAULT, seed), (DEFAULT, 0)):
                if self.result(*base).exists():
                    link_stages(self.dataset(*base), dataset)
                    break
        status = make_pseudo_dataset([*self._call(arm, seed, truth), "--continue"])
        # An arm that finds no tumour at all is a result too: every case is empty, and counts so.
        if status not in (EXIT_DONE, EXIT_SOME_CASES_FAILED, EXIT_NO_TUMOUR):
            return status
        evaluate(
            EvaluationOptions(
                labels_to_score(dataset, truth),
                truth,
                self.folder(arm, seed),
                missing="empty",
                processes=self.processes,
            )
        )
        return EXIT_DONE

    def _call(self, arm: str, seed: int, truth: Path) -> list[str]:
        chosen = ARMS[arm]
        call = ["-i", str(self.scans), "-d", str(DATASET), "-o", str(self.folder(arm, seed))]
        call += ["-np", str(self.processes), *self.extra, "--set", f"seed={seed}"]
        for option in chosen.options:
            call += ["--set", option]
        if chosen.perfect_labels:
            if not self.result(DEFAULT, seed).exists():
                raise UserError(
                    "--arms", arm, f"{DEFAULT} of seed {seed} before it", "run that first"
                )
            table = self.folder(arm, seed) / "true_slice_labels.csv"
            write_text(table, perfect_labels(self.dataset(DEFAULT, seed), truth))
            call += ["--slice-labels", str(table)]
        return call


def link_stages(source: Path, target: Path) -> None:
    """Give a dataset the kept results of another; each is used only where its signature fits.

    Hard links: the store replaces files and never writes into one.
    """
    for path in sorted((source / "clisc" / "stages").rglob("*")):
        if path.is_file():
            new = target / path.relative_to(source)
            new.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, new)
            except OSError:  # another file system, or one without links
                shutil.copy2(path, new)


def labels_to_score(dataset: Path, truth: Path) -> Path:
    """Folder of the dataset's labels; where no case has one, of an empty mask of the first case."""
    labels = dataset / "labelsTr"
    if any(labels.glob("*.nii.gz")):
        return labels
    first = min(truth.glob("*.nii.gz"))
    grid = read_geometry(first)
    write_volume(dataset / "clisc" / "no_labels" / first.name, np.zeros(grid.shape, np.uint8), grid)
    return dataset / "clisc" / "no_labels"


@dataclass(frozen=True)
class Result:
    """What an arm came to with a seed.

    Parameters
    ----------
    dice : dict of case to float
        Of the cases with a tumour; 0 without a label.
    healthy, false_labels : int
        Cases without a tumour, and how many of them got a label.
    """

    dice: dict[str, float]
    healthy: int = 0
    false_labels: int = 0


def read_result(path: Path) -> Result:
    """Result of an arm from its `evaluation.json`."""
    rows = read_evaluation(path)["cases"]
    healthy = [row for row in rows if not row["reference_ml"]]
    return Result(
        {row["case"]: row["dice"] for row in rows if row["reference_ml"]},
        len(healthy),
        sum(row["predicted_ml"] > 0 for row in healthy),
    )


def table(results: Mapping[str, Mapping[int, Result]]) -> str:
    """Markdown: each arm's Dice, and its difference to `default` on the seeds that both have.

    Parameters
    ----------
    results : mapping of arm to seed to Result
        Of what is finished; `default` among them.
    """
    rows = []
    for arm, by_seed in results.items():
        shared = sorted(by_seed.keys() & results[DEFAULT].keys())
        if not shared:
            continue
        mine, theirs = (
            mean_over_seeds([r[s].dice for s in shared]) for r in (by_seed, results[DEFAULT])
        )
        found = paired(theirs, mine, lower_is_better=False)
        lowest = min(mine, key=lambda case: mine[case])
        change = difference_cells("dice", found)
        false_labels = sum(by_seed[s].false_labels for s in shared)
        rows.append(
            {
                "arm": arm,
                "seeds": " ".join(map(str, shared)),
                "cases": str(found.cases),
                "Dice": f"{found.second:.3f}",
                "lowest": f"{mine[lowest]:.3f} ({lowest})",
                **(dict.fromkeys(change, "") if arm == DEFAULT else change),
                "labels without tumour": (
                    f"{false_labels} of {sum(by_seed[s].healthy for s in shared)}"
                ),
            }
        )
    return markdown(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-i", type=Path, required=True, metavar="SCANS")
    parser.add_argument("-r", type=Path, required=True, metavar="REFERENCES")
    parser.add_argument("-o", type=Path, required=True, metavar="OUT")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    add_minutes(parser)
    parser.add_argument("--option", action="append", default=[], help="--set of all arms")
    parser.add_argument("-np", type=int, default=1, metavar="N", help="processes")
    arguments = parser.parse_args(argv)
    extra = tuple(part for option in arguments.option for part in ("--set", option))
    ablation = Ablation(arguments.i, arguments.r, arguments.o, extra, arguments.np)
    # `default` first: the others take over its stages and are compared with it.
    arms = [DEFAULT, *(arm for arm in ARMS if arm in arguments.arms and arm != DEFAULT)]
    try:
        pieces = [(arm, seed) for seed in arguments.seeds for arm in arms]
        for arm, seed in in_time(pieces, arguments.minutes):
            print(f"== {arm}, seed {seed}", flush=True)
            status = ablation.run(arm, seed)
            if status != EXIT_DONE:
                return status
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    results = {
        arm: {
            seed: read_result(ablation.result(arm, seed))
            for seed in arguments.seeds
            if ablation.result(arm, seed).exists()
        }
        for arm in arms
    }
    if results[DEFAULT]:
        print(table({arm: found for arm, found in results.items() if found}))
    else:
        print(f"{DEFAULT} is not finished: the same command goes on")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
