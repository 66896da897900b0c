"""Phantoms among the training cases: their share in the batches, and no place in a validation set.

nnU-Net's loader draws every name of its list with the same probability, so a share is set by
repeating names.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from nnunetv2.utilities.crossval_split import generate_crossval_split

from clisc_nnunet.dataset_layout import CLISC_FOLDER, PHANTOMS_FILE, PHANTOMS_KEY, read_names
from clisc_nnunet.errors import UserError
from clisc_nnunet.io.atomic_write import write_text

# nnU-Net's file of the folds, and their number.
SPLITS_FILE, FOLDS = "splits_final.json", 5
# Largest number of repeats of the rarer kind: enough for a share within 0.02 of the wanted one.
MOST_REPEATS = 10


@dataclass(frozen=True)
class Phantoms:
    """Phantoms of a preprocessed dataset; all methods leave a dataset without any unchanged."""

    names: frozenset[str] = frozenset()

    @classmethod
    def among(
        cls, cases: Collection[str], dataset_json: Mapping[str, Any], folders: Iterable[Path]
    ) -> Phantoms:
        """Phantoms among the preprocessed cases.

        Parameters
        ----------
        dataset_json : mapping
            Names the phantoms for machines without these lists. nnU-Net copies it when it plans,
            so phantoms that were added later are missing.
        folders : iterable of Path
            The `clisc` folders of the raw and of the preprocessed dataset, whose lists have all of
            them; either may be missing.
        """
        made = dataset_json.get(CLISC_FOLDER)
        named = set(made.get(PHANTOMS_KEY, ())) if isinstance(made, dict) else set()
        named.update(*(read_names(folder / PHANTOMS_FILE) for folder in folders))
        return cls(frozenset(named & set(cases)))

    def prepare_splits(self, folder: Path, cases: Collection[str]) -> None:
        """Write nnU-Net's five folds, unless they exist: of the scans alone, as without phantoms.

        nnU-Net itself would distribute the phantoms over the validation sets. Here they are in all
        training sets, where stock trainers find them, too.

        Raises
        ------
        UserError
            If there are fewer scans than folds.
        """
        file = folder / SPLITS_FILE
        if not self.names or file.is_file():
            return
        scans = sorted(set(cases) - self.names)
        if len(scans) < FOLDS:
            raise UserError(
                file,
                f"{len(scans)} scans beside {len(self.names)} phantoms",
                f"{FOLDS} scans or more, for {FOLDS} folds",
                "train fold all",
            )
        phantoms = sorted(self.names)
        folds = [
            {"train": [*fold["train"], *phantoms], "val": list(fold["val"])}
            for fold in generate_crossval_split(scans, n_splits=FOLDS)
        ]
        write_text(file, json.dumps(folds, indent=4) + "\n")

    def without(self, train: Sequence[str], validate: Sequence[str]) -> tuple[list[str], list[str]]:
        """A split with its scans alone.

        Raises
        ------
        UserError
            If the validation set consists of phantoms.
        """
        scans = [[case for case in part if case not in self.names] for part in (train, validate)]
        if len(validate) and not scans[1]:
            raise UserError(
                SPLITS_FILE,
                "phantoms alone in the validation set of this fold",
                "a scan to validate on",
                "remove this file, which was written without regard to phantoms",
            )
        return scans[0], scans[1]

    def add_to(self, train: nnUNetBaseDataset, share: float, excluded: Collection[str]) -> None:
        """Add the phantoms to the names that training batches are drawn from."""
        phantoms = sorted(self.names.difference(excluded))
        train.identifiers = names_to_draw(train.identifiers, phantoms, share)

    def describe(self, train: nnUNetBaseDataset) -> str:
        """Number of phantoms and of scans, and the share of phantoms, for the log."""
        drawn = [name for name in train.identifiers if name in self.names]
        scans = len(set(train.identifiers) - self.names)
        share = len(drawn) / max(len(train.identifiers), 1)
        return (
            f"{len(set(drawn))} phantoms, {share:.0%} of the training cases in the batches; "
            f"{scans} scans"
        )


def names_to_draw(scans: Sequence[str], phantoms: Sequence[str], share: float) -> list[str]:
    """Scans and phantoms, repeated such that a share of the names is of phantoms.

    Parameters
    ----------
    share : float
        0 to below 1. 0: no phantoms.
    """
    if not (scans and phantoms and share):
        return list(scans)
    # Wanted repeats of a phantom per repeat of a scan, as a fraction of small whole numbers.
    wanted = share * len(scans) / ((1 - share) * len(phantoms))
    often = Fraction(max(wanted, 1 / wanted)).limit_denominator(MOST_REPEATS)
    repeats = (often.numerator, often.denominator)
    phantom_repeats, scan_repeats = repeats if wanted >= 1 else repeats[::-1]
    return [*scans] * scan_repeats + [*phantoms] * phantom_repeats
