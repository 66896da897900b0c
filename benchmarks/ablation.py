"""Ablation study: the conversion with one change of the method at a time.

    python -m benchmarks.ablation -i SCANS -r REFERENCES -o OUT [--arms NAME ...] [--seeds 0 1 2]

Each variant (`--arms`) and seed is a separate conversion under OUT, which reuses results of
`default` where settings are equal, and an evaluation against the references, in which a case
without a label counts as an empty mask. Finished runs are not repeated, so that the work can be
split with `--minutes`. The table compares each variant with `default`, paired by case, averaged
over common seeds. Settings are chosen on phantoms; real scans are for confirmation.
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
from benchmarks.resumable import add_minutes, until_deadline
from clisc_nnunet.dataset_conversion.make_pseudo_dataset import main as make_pseudo_dataset
from clisc_nnunet.dataset_conversion.nnunet_dataset import dataset_folder, place_image
from clisc_nnunet.dataset_layout import DatasetLayout
from clisc_nnunet.errors import EXIT_DONE, EXIT_NO_TUMOUR, EXIT_SOME_CASES_FAILED, UserError, named
from clisc_nnunet.evaluation.evaluate import EvaluationOptions, evaluate
from clisc_nnunet.evaluation.find_masks import find_masks
from clisc_nnunet.evaluation.tables import markdown
from clisc_nnunet.inputs.find_cases import find_cases
from clisc_nnunet.io.atomic_write import write_text
from clisc_nnunet.io.volume import read_geometry, write_volume

DEFAULT = "default"
DATASET = 501


@dataclass(frozen=True)
class Variant:
    """A change of the method: options of `--set`, and whether to use the true slice labels."""

    options: tuple[str, ...] = ()
    perfect_labels: bool = False


VARIANTS: dict[str, Variant] = {
    DEFAULT: Variant(),
    "amda-off": Variant(("masking.mode=off",)),
    "amda-as-published-code": Variant(("masking.mode=brightness",)),
    "amda-and-plain-slices": Variant(("masking.keep_plain=true",)),
    "box-only": Variant(("prompts.positive_points=0", "prompts.negative_corners=false")),
    "points-only": Variant(("prompts.box=false",)),
    "margin-0": Variant(("prompts.margin=0",)),
    "margin-10": Variant(("prompts.margin=10",)),
    "no-close-up": Variant(("sam.close_up=0",)),
    "no-second-opinion": Variant(("sam.second_opinion=0",)),
    "axial-alone": Variant(('sam.views=["axial"]', "sam.close_up=0", "roi.fill_gaps=false")),
    "perfect-slice-labels": Variant(perfect_labels=True),
}
"""`default`: AMDA as in the text of the paper, box and points, a margin of 3 px, all passes."""


@dataclass(frozen=True)
class Ablation:
    """Input, output and options of an ablation study."""

    scans: Path
    references: Path
    out: Path
    extra: tuple[str, ...] = ()
    """Additional options of the conversion, for all variants."""
    processes: int = 1

    def folder(self, variant: str, seed: int) -> Path:
        """Folder of a variant and seed."""
        return self.out / f"{variant}_seed{seed}"

    def dataset(self, variant: str, seed: int) -> Path:
        """Dataset of a variant and seed."""
        return self.folder(variant, seed) / f"Dataset{DATASET}_CLISC"

    def result(self, variant: str, seed: int) -> Path:
        """File that exists when variant and seed are finished."""
        return self.folder(variant, seed) / "evaluation.json"

    def true_masks(self) -> Path:
        """Link the references of these scans into one folder.

        Raises
        ------
        UserError
            If a scan has no reference.
        """
        folder, masks = self.out / "references", find_masks(self.references)
        cases = [case.name for case in find_cases(self.scans).cases]
        missing = [case for case in cases if case not in masks]
        if missing:
            raise UserError(
                self.references,
                f"no reference for {named(missing)}",
                f"one for each scan of {self.scans}",
                "check that the names match",
            )
        folder.mkdir(parents=True, exist_ok=True)
        for case in cases:
            place_image(masks[case], folder / f"{case}.nii.gz")
        return folder

    def run(self, variant: str, seed: int) -> int:
        """Convert and evaluate; returns the exit status, `EXIT_DONE` if already finished."""
        if self.result(variant, seed).exists():
            return EXIT_DONE
        truth = self.true_masks()
        dataset = self.dataset(variant, seed)
        if not dataset.exists():
            dataset_folder(DATASET, "CLISC", self.folder(variant, seed))
            for base in ((DEFAULT, seed), (DEFAULT, 0)):
                if self.result(*base).exists():
                    link_stages(self.dataset(*base), dataset)
                    break
        status = make_pseudo_dataset([*self._call(variant, seed, truth), "--continue"])
        # Finding no tumour at all is a valid result: all cases count as empty.
        if status not in (EXIT_DONE, EXIT_SOME_CASES_FAILED, EXIT_NO_TUMOUR):
            return status
        evaluate(
            EvaluationOptions(
                labels_to_score(dataset, truth),
                truth,
                self.folder(variant, seed),
                missing="empty",
                processes=self.processes,
            )
        )
        return EXIT_DONE

    def _call(self, variant: str, seed: int, truth: Path) -> list[str]:
        chosen = VARIANTS[variant]
        call = ["-i", str(self.scans), "-d", str(DATASET), "-o", str(self.folder(variant, seed))]
        call += ["-np", str(self.processes), *self.extra, "--set", f"seed={seed}"]
        for option in chosen.options:
            call += ["--set", option]
        if chosen.perfect_labels:
            if not self.result(DEFAULT, seed).exists():
                raise UserError(
                    "--arms", variant, f"a finished run of {DEFAULT}, seed {seed}", "run that first"
                )
            table = self.folder(variant, seed) / "true_slice_labels.csv"
            write_text(table, perfect_labels(self.dataset(DEFAULT, seed), truth))
            call += ["--slice-labels", str(table)]
        return call


def link_stages(source: Path, target: Path) -> None:
    """Link the cached results of a dataset into another; used if their fingerprints match.

    Hard links are safe, since the cache replaces files and never modifies them.
    """
    for path in sorted(DatasetLayout(source).stages.rglob("*")):
        if path.is_file():
            new = target / path.relative_to(source)
            new.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, new)
            except OSError:  # other file system, or no support for links
                shutil.copy2(path, new)


def labels_to_score(dataset: Path, truth: Path) -> Path:
    """Folder of the labels; if there are none, a folder with an empty mask of the first case."""
    labels = DatasetLayout(dataset).labels
    if any(labels.glob("*.nii.gz")):
        return labels
    first = min(truth.glob("*.nii.gz"))
    grid = read_geometry(first)
    write_volume(
        DatasetLayout(dataset).clisc / "no_labels" / first.name,
        np.zeros(grid.shape, np.uint8),
        grid,
    )
    return DatasetLayout(dataset).clisc / "no_labels"


@dataclass(frozen=True)
class Result:
    """Result of a variant and seed.

    Parameters
    ----------
    dice : dict of case to float
        Dice of the cases with a tumour; 0 without a label.
    healthy, false_labels : int
        Number of cases without a tumour, and of those that got a label.
    """

    dice: dict[str, float]
    healthy: int = 0
    false_labels: int = 0


def read_result(path: Path) -> Result:
    """Read the result of a variant from its `evaluation.json`."""
    rows = read_evaluation(path)["cases"]
    healthy = [row for row in rows if not row["reference_ml"]]
    return Result(
        {row["case"]: row["dice"] for row in rows if row["reference_ml"]},
        len(healthy),
        sum(row["predicted_ml"] > 0 for row in healthy),
    )


def table(results: Mapping[str, Mapping[int, Result]]) -> str:
    """Markdown table: Dice of each variant, and its difference to `default` on common seeds.

    Parameters
    ----------
    results : mapping of variant to seed to Result
        Finished runs, including `default`.
    """
    rows = []
    for variant, by_seed in results.items():
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
                "variant": variant,
                "seeds": " ".join(map(str, shared)),
                "cases": str(found.cases),
                "Dice": f"{found.second:.3f}",
                "lowest": f"{mine[lowest]:.3f} ({lowest})",
                **(dict.fromkeys(change, "") if variant == DEFAULT else change),
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
    parser.add_argument("--arms", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    add_minutes(parser)
    parser.add_argument("--option", action="append", default=[], help="--set for all variants")
    parser.add_argument("-np", type=int, default=1, metavar="N", help="processes")
    arguments = parser.parse_args(argv)
    extra = tuple(part for option in arguments.option for part in ("--set", option))
    ablation = Ablation(arguments.i, arguments.r, arguments.o, extra, arguments.np)
    # `default` comes first, because the others reuse its stages.
    variants = [
        DEFAULT,
        *(variant for variant in VARIANTS if variant in arguments.arms and variant != DEFAULT),
    ]
    try:
        tasks = [(variant, seed) for seed in arguments.seeds for variant in variants]
        for variant, seed in until_deadline(tasks, arguments.minutes):
            print(f"== {variant}, seed {seed}", flush=True)
            status = ablation.run(variant, seed)
            if status != EXIT_DONE:
                return status
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    results = {
        variant: {
            seed: read_result(ablation.result(variant, seed))
            for seed in arguments.seeds
            if ablation.result(variant, seed).exists()
        }
        for variant in variants
    }
    if results[DEFAULT]:
        print(table({variant: found for variant, found in results.items() if found}))
    else:
        print(f"{DEFAULT} is not finished: run the same command again to continue")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
