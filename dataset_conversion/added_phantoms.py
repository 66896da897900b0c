"""Phantoms in a dataset (`--add-phantoms`): cases whose label is certain, beside the user's scans.

Phantoms are made one by one in `clisc/phantoms`, then moved into the dataset together. Each has a
record, written last, with seed, settings and the hashes of its files.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from clisc_nnunet.dataset_layout import DatasetLayout, read_names
from clisc_nnunet.errors import ScanError, UserError, named
from clisc_nnunet.inputs.channels import FLAIR, Channel
from clisc_nnunet.io.atomic_write import write_text
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.io.volume import Geometry, Source, read_geometry, write_volume
from clisc_nnunet.phantoms.anatomy import Anatomy, mni152_anatomy
from clisc_nnunet.phantoms.phantom import GENERATOR_VERSION, make_phantom
from clisc_nnunet.phantoms.phantom_dataset import stored_intensities
from clisc_nnunet.phantoms.scan_grid import ScanGrid, on_grid, typical_grid
from clisc_nnunet.phantoms.settings import KINDS
from clisc_nnunet.pipeline.case_result import CaseOutcome
from clisc_nnunet.pipeline.result_cache import read_object
from clisc_nnunet.processes import WorkerPool

OPTION = "--add-phantoms"
MOST = 9999
_NAME = re.compile(r"phantom_\d{4}")
# Phantom k has this seed plus k. The bundled models are trained with smaller seeds, and tested with
# larger ones.
FIRST_SEED = 700_000
# Phantoms take turns; the kinds have no common divisor with the share of those without a tumour.
KIND_NAMES = ("usual", "aged")
TUMOUR_FREE_EVERY = 3
# They are drawn with these voxels, then resampled to those of the scans.
DRAWN_MM = 1.5
# Scans whose header decides the voxels of the phantoms; of DICOM series, every file is read.
SAMPLE = 25


@dataclass(frozen=True)
class AddedPhantoms:
    """Phantoms that a dataset is to have.

    Parameters
    ----------
    dataset : DatasetLayout
        With an absolute path, for jobs on other machines.
    count : int
        `phantom_0001` up to this number.
    """

    dataset: DatasetLayout
    count: int

    @classmethod
    def requested(cls, dataset: DatasetLayout, count: int | None) -> AddedPhantoms:
        """As many as the option says; without it, as many as in an earlier call."""
        if count is None:
            listed = len(read_names(dataset.phantoms_txt))
            count = int(read_object(_plan_file(dataset)).get("count", listed))
        return cls(dataset, count)

    @property
    def names(self) -> list[str]:
        """Cases, in order."""
        return [f"phantom_{number:04d}" for number in range(1, self.count + 1)]

    @property
    def existing(self) -> set[str]:
        """Phantoms that were made or placed by any call."""
        names = {path.stem for path in self.dataset.phantoms.glob("*.json")}
        # The list may have been edited; no scan may be taken for a phantom, which can be removed.
        return set(filter(_NAME.fullmatch, names.union(read_names(self.dataset.phantoms_txt))))

    def check(self, channels: Sequence[Channel], scans: Collection[str]) -> None:
        """Check that the dataset can have these phantoms.

        Parameters
        ----------
        scans : collection of str
            Names of all cases of the user.

        Raises
        ------
        UserError
            If they are too many, cannot have its channels, or share a name with a scan.
        """
        if not 0 <= self.count <= MOST:
            raise UserError(OPTION, str(self.count), f"0 to {MOST}", "change the number")
        known = {path.name for path in self.dataset.stages.glob("*") if path.is_dir()}
        names, existing = set(self.names), self.existing
        taken = sorted((names | existing).intersection(scans) | (names & known))
        if taken:
            raise UserError(
                OPTION,
                f"{len(taken)} scans with the names of phantoms ({named(taken)})",
                "other names, in a dataset that never had them",
                "rename these scans and start a new dataset, or add no phantoms",
            )
        if not self.count:
            return
        if [channel.name for channel in channels] != [FLAIR]:
            raise UserError(
                OPTION,
                f"{self.count} phantoms and the channels {' '.join(c.name for c in channels)}",
                "flair alone: phantoms look like FLAIR and have no other channel",
                f"omit the other channels, or use {OPTION} 0",
            )
        for name in sorted(names - existing):
            for _, placed in _files(self.dataset, name).values():
                if placed.exists():
                    found = "a file that is not a phantom of this command"
                    raise UserError(placed, found, "no file", "move it elsewhere")

    def make(
        self, scans: Sequence[Source], pool: WorkerPool, part: int = 0, parts: int = 1
    ) -> None:
        """Make the phantoms that are missing, or those of one part of them.

        Parameters
        ----------
        scans : sequence of (Path or Series)
            Of all parts. The first call takes voxel size and axis order from them.

        Raises
        ------
        UserError
            If one cannot be written.
        """
        plan = _plan_file(self.dataset)
        known = read_object(plan)
        if not (self.count or known):
            return
        grid = _grid(known["grid"]) if "grid" in known else typical_grid(_sample(scans))
        write_text(plan, json.dumps({"count": self.count, "grid": asdict(grid)}) + "\n")
        missing = [name for name in self.names[part::parts] if not is_complete(self.dataset, name)]
        jobs = {name: partial(make_case, self.dataset, name, grid) for name in missing}
        for name in sorted(self.existing.intersection(missing)):
            print(f"{name}: changed or removed since it was made; made again")
        if not jobs:
            return
        for _, result in tqdm(pool.run(jobs), "phantoms", len(jobs), unit="case"):
            if isinstance(result, BaseException):
                raise result

    def place(self) -> None:
        """Move the phantoms into the dataset, remove those beyond the count, and list the rest."""
        existing = self.existing
        # If interrupted, no phantom of the dataset is missing in the list.
        self._list(existing.union(self.names))
        for name in self.names:
            for made, placed in _files(self.dataset, name).values():
                if made.is_file():
                    placed.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(made, placed)
        for name in sorted(existing.difference(self.names)):
            for file in itertools.chain(*_files(self.dataset, name).values()):
                file.unlink(missing_ok=True)
            _record_file(self.dataset, name).unlink(missing_ok=True)
            print(f"removed: {name}")
        self._list(self.names)
        if not self.count:
            _plan_file(self.dataset).unlink(missing_ok=True)

    def records(self) -> list[dict[str, Any]]:
        """Records of the phantoms made so far, for the record of the run."""
        known = (read_object(_record_file(self.dataset, name)) for name in self.names)
        return [record for record in known if record]

    def outcomes(self) -> list[CaseOutcome]:
        """Phantoms as rows of the tables."""
        return [
            CaseOutcome(
                record["case"],
                "phantom",
                f"{record['kinds']} head, tumour: {record['kind']}",
                label_ml=record["tumour_ml"],
            )
            for record in self.records()
        ]

    def summary(self) -> str:
        """Line below the table of cases; empty without phantoms."""
        if not self.count:
            return ""
        free = sum(record["kind"] == "none" for record in self.records())
        return f"\nbeside them {self.count} phantoms, {free} of them without a tumour"

    def _list(self, names: Collection[str]) -> None:
        if names:
            head = f"# Made by {OPTION}; not scans. Repeat it with another number to change them.\n"
            text = "".join(f"{name}\n" for name in sorted(names))
            write_text(self.dataset.phantoms_txt, head + text)
        else:
            self.dataset.phantoms_txt.unlink(missing_ok=True)


def make_case(dataset: DatasetLayout, name: str, grid: ScanGrid) -> None:
    """Make one phantom in `clisc/phantoms`; called in a worker."""
    number = int(name.rpartition("_")[2])
    kind = KIND_NAMES[number % len(KIND_NAMES) - 1]
    settings = KINDS[kind]
    free = 0.0 if number % TUMOUR_FREE_EVERY else 1.0
    settings = replace(settings, tumour=replace(settings.tumour, free=free))
    phantom = make_phantom(FIRST_SEED + number, [_anatomy()], settings)
    flair, tumour, geometry = on_grid(phantom, grid)
    files = {what: made for what, (made, _) in _files(dataset, name).items()}
    for what, array in (("image", stored_intensities(flair)), ("label", tumour)):
        # Incomplete files go where those of the stages go, and are removed with them.
        write_volume(files[what], array, geometry, folder=dataset.stages)
    record = {
        "case": name,
        "kinds": kind,
        **phantom.facts,
        "tumour_ml": round(float(tumour.sum()) * geometry.voxel_ml, 1),
        **asdict(grid),
        "drawing": GENERATOR_VERSION,
        "sha256": {what: file_sha256(file) for what, file in files.items()},
    }
    write_text(_record_file(dataset, name), json.dumps(record) + "\n")


def is_complete(dataset: DatasetLayout, name: str) -> bool:
    """Whether both files of a phantom exist, made or placed, as they were written."""
    hashes = read_object(_record_file(dataset, name)).get("sha256", {})
    return bool(hashes) and all(
        any(file.is_file() and file_sha256(file) == hashes[what] for file in files)
        for what, files in _files(dataset, name).items()
    )


@lru_cache(1)
def _anatomy() -> Anatomy:
    return mni152_anatomy(DRAWN_MM)


def _sample(scans: Sequence[Source]) -> list[Geometry]:
    """Geometries of some scans; unreadable ones are reported elsewhere."""
    found = []
    for scan in scans[:: max(len(scans) // SAMPLE, 1)]:
        try:
            found.append(read_geometry(scan))
        except ScanError:
            continue
    if not found:
        raise UserError(OPTION, "no scan with a readable header", "one at least", "check -i")
    return found


def _grid(content: dict[str, Any]) -> ScanGrid:
    x, y, z = content["spacing_mm"]
    return ScanGrid((x, y, z), content["orientation"])


def _files(dataset: DatasetLayout, name: str) -> dict[str, tuple[Path, Path]]:
    """Image and label of a phantom: where it is made, and in the dataset."""
    image, label = dataset.image(name), dataset.label(name)
    return {
        "image": (dataset.phantoms / image.name, image),
        "label": (dataset.phantoms / label.name, label),
    }


def _record_file(dataset: DatasetLayout, name: str) -> Path:
    return dataset.phantoms / f"{name}.json"


def _plan_file(dataset: DatasetLayout) -> Path:
    return dataset.phantoms / "plan.json"
