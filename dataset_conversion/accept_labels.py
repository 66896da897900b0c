"""Accept a folder of corrected labels into a dataset (the work of `clisc_accept_labels`).

Every step can be repeated: a call that was interrupted does the rest when it is made again.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from clisc_nnunet.dataset_conversion.corrected_labels import (
    add_to_trusted,
    check_author,
    edited_files,
)
from clisc_nnunet.dataset_conversion.label_files import (
    LABEL_ENDINGS,
    SavedLabel,
    agreed_label,
    label_files,
    read_label,
)
from clisc_nnunet.dataset_conversion.label_replacement import move_away, replace_label
from clisc_nnunet.dataset_conversion.nnunet_dataset import existing_dataset
from clisc_nnunet.dataset_conversion.preprocess_again import (
    Preprocessing,
    outdated_cases,
    preprocess_again,
)
from clisc_nnunet.dataset_conversion.preprocessed_lists import copy_lists
from clisc_nnunet.dataset_layout import (
    EXCLUDE_FILE,
    FILE_ENDING,
    DatasetLayout,
    phantoms_beside,
    read_names,
)
from clisc_nnunet.errors import ScanError, UserError, named, one_line
from clisc_nnunet.io.volume import Geometry, read_geometry
from clisc_nnunet.pipeline.result_cache import ResultCache

Status = Literal["accepted", "unchanged", "refused"]
# A scan beside the labels, as nnU-Net names it.
_SCAN = re.compile(r"(.+)_\d{4}")


@dataclass(frozen=True)
class AcceptOptions:
    """Options of the command; names as in its help."""

    dataset_id: int
    folder: Path | None = None
    """Folder of corrected labels; default: `labelsTr` of the dataset."""
    root: Path | None = None
    any_label: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class CaseReport:
    """What became of one corrected label."""

    case: str
    status: Status
    text: str


@dataclass(frozen=True)
class Acceptance:
    """Result of a call.

    Parameters
    ----------
    cases : tuple of CaseReport
        Sorted by name.
    preprocessing : Preprocessing
        Of these cases; of a dry run, what would be done.
    text : str
        Report for the terminal.
    """

    cases: tuple[CaseReport, ...]
    preprocessing: Preprocessing
    text: str

    @property
    def failed(self) -> int:
        """Number of labels that cannot be used, and of cases that cannot be preprocessed."""
        refused = sum(case.status == "refused" for case in self.cases)
        return refused + len(self.preprocessing.failed)


def accept_labels(options: AcceptOptions) -> Acceptance:
    """Check corrected labels, put them into a dataset, and list their cases as trusted.

    Where the dataset is preprocessed, these cases are preprocessed again.

    Raises
    ------
    UserError
        If there is no such dataset, no label, or none that can be used.
    """
    dataset = DatasetLayout(existing_dataset(options.dataset_id, options.root))
    cache = ResultCache(dataset.stages)
    files = _saved_files(dataset, cache, options.folder)
    excluded = read_names(dataset.exclude_txt)
    trusted = read_names(dataset.trusted_txt)
    reports, usable = [], []
    for case, paths in sorted(files.items()):
        try:
            if case in excluded:
                raise _excluded(dataset, case)
            if case not in trusted:
                check_author(dataset, cache, case, paths)
            report = _accept(dataset, case, paths, options)
            usable.append(case)
        except ScanError as error:
            report = CaseReport(case, "refused", str(error))
        reports.append(report)
        print(f"{report.status:<9} {one_line(report.case)}: {report.text}", flush=True)
    if reports and not usable:
        hint = "the reasons are above"
        raise UserError(options.folder or dataset.labels, "no usable label", "one or more", hint)
    if options.dry_run:
        changing = [report.case for report in reports if report.status == "accepted"]
        again = Preprocessing(outdated_cases(dataset, usable, changing))
    else:
        if usable:
            add_to_trusted(dataset, usable)
        again = preprocess_again(dataset, usable)
        copy_lists(dataset)
    return Acceptance(tuple(reports), again, _text(dataset, reports, again, options))


def _saved_files(
    dataset: DatasetLayout, cache: ResultCache, folder: Path | None
) -> dict[str, list[Path]]:
    """Corrected labels by case; without phantoms, whose labels need no trust."""
    phantoms = phantoms_beside(dataset.labels)
    if folder is None or folder.resolve() == dataset.labels.resolve():
        edited = {
            case: edited_files(dataset, cache, case, paths)
            for case, paths in label_files(dataset.labels).items()
            if case not in phantoms
        }
        return {case: paths for case, paths in edited.items() if paths}
    if not folder.is_dir():
        raise UserError(folder, "no such folder", "a folder of corrected labels", "check the path")
    found = label_files(folder)
    files = {
        case: paths
        for case, paths in found.items()
        if case not in phantoms and not _is_scan(case, found, dataset)
    }
    if left_out := sorted(phantoms & found.keys()):
        print(f"left out: {named(left_out)}, phantoms: their labels are certain")
    if not files:
        endings = ", ".join(f"CASE{ending}" for ending in LABEL_ENDINGS)
        raise UserError(folder, "no label", f"files {endings}", "check the path")
    return files


def _is_scan(name: str, files: Mapping[str, list[Path]], dataset: DatasetLayout) -> bool:
    """Whether a file is a scan of the dataset that lies beside the labels."""
    match = _SCAN.fullmatch(name)
    return match is not None and not dataset.image(name).is_file() and match[1] in files


def _accept(
    dataset: DatasetLayout, case: str, paths: Sequence[Path], options: AcceptOptions
) -> CaseReport:
    """Check a label and put it into the dataset, unless it is a dry run.

    Raises
    ------
    ScanError
        If it cannot be used.
    """
    label = dataset.label(case)
    grid = _grid(dataset, case, paths[0])
    saved = agreed_label(paths, grid, any_label=options.any_label)
    same = _is_there(label, saved, grid)
    if not options.dry_run:
        if not same:
            replace_label(dataset, case, saved.mask, grid)
        for path in paths:
            if path.parent.resolve() == dataset.labels.resolve() and path.name != label.name:
                move_away(dataset, path)
    notes = [f"{int(saved.mask.sum())} voxels", *saved.notes]
    if not dataset.image(case).is_file():
        notes.append("its scan is placed by clisc_make_pseudo_dataset --continue")
    names = " and ".join(one_line(path.name) for path in paths)
    return CaseReport(case, "unchanged" if same else "accepted", f"{names}, {'; '.join(notes)}")


def _grid(dataset: DatasetLayout, case: str, path: Path) -> Geometry:
    """Grid of a case's scan.

    Raises
    ------
    ScanError
        If the dataset has no such case.
    """
    # Cases without a label have no image in the dataset, but an activation map on the same grid.
    for known in (dataset.image(case), dataset.cam(case)):
        if known.is_file():
            return read_geometry(known)
    names = {one.name.removesuffix(FILE_ENDING) for one in dataset.cam(case).parent.glob("*")}
    names |= {one.name.removesuffix(FILE_ENDING)[:-5] for one in dataset.images.glob("*_0000.*")}
    close = difflib.get_close_matches(case, sorted(names), 3)
    hint = f"the closest names are {', '.join(close)}" if close else "rename or remove the file"
    raise ScanError(path, f"no case {case!r} in {dataset.folder.name}", "the name of a case", hint)


def _is_there(label: Path, saved: SavedLabel, grid: Geometry) -> bool:
    """Whether the dataset has the same label already, in a form that nnU-Net can use."""
    if not label.is_file():
        return False
    try:
        known = read_label(label, grid)
    except ScanError:
        return False
    return known.usable_as_is and np.array_equal(known.mask, saved.mask)


def _excluded(dataset: DatasetLayout, case: str) -> ScanError:
    return ScanError(
        dataset.exclude_txt,
        f"{case}, which has a corrected label",
        "each case in at most one list",
        f"remove it from {EXCLUDE_FILE} to learn from this label",
    )


def _text(
    dataset: DatasetLayout,
    reports: Sequence[CaseReport],
    again: Preprocessing,
    options: AcceptOptions,
) -> str:
    """Counts, what was preprocessed, and what remains to be done."""
    counts = Counter(report.status for report in reports)
    shown = ", ".join(f"{counts[status]} {status}" for status in ("accepted", "unchanged"))
    lines = [f"\n{len(reports)} labels for {dataset.folder.name}: {shown}"]
    if counts["refused"]:
        lines[0] += f", {counts['refused']} refused"
    verb = "to preprocess" if options.dry_run else "preprocessed"
    lines += [
        f"{verb}: {len(cases)} cases for {configuration.plans.stem}, {configuration.name}"
        for configuration, cases in again.done.items()
    ]
    lines += [
        f"not preprocessed: {one_line(case)}: {reason}" for case, reason in again.failed.items()
    ]
    if options.dry_run:
        lines.append("nothing was written (--dry-run)")
    else:
        if counts["accepted"] and dataset.replaced_labels.is_dir():
            lines.append(f"replaced labels are kept in {dataset.replaced_labels}")
        lines.append("report and tables follow with clisc_make_pseudo_dataset --continue")
    return "\n".join(lines)
