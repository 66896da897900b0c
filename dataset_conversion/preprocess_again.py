"""Preprocess single cases of a planned dataset, with nnU-Net's own preprocessor.

nnU-Net's command preprocesses every case. Here the files of a case are made beside the old ones and
then moved over them.
"""

from __future__ import annotations

import filecmp
import json
import shutil
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from clisc_nnunet.dataset_conversion.preprocessed_lists import preprocessed_folder
from clisc_nnunet.dataset_layout import FILE_ENDING, DatasetLayout
from clisc_nnunet.errors import ScanError, UserError
from clisc_nnunet.io.atomic_write import atomic_file, replace_durably, write_text
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.io.sitk_images import read_image
from clisc_nnunet.pipeline.result_cache import read_object

# In the `clisc` folder of the preprocessed dataset: for each configuration and case the hash of
# the label, and size and time of the files that were made from it.
RECORD_FILE = "preprocessed_labels.json"
_TEMPORARY = ".preprocessing_"


@dataclass(frozen=True)
class Configuration:
    """A configuration of a plans file that has been preprocessed.

    Parameters
    ----------
    plans : Path
        Plans file.
    name : str
        Such as `3d_fullres`.
    folder : Path
        Preprocessed cases.
    """

    plans: Path
    name: str
    folder: Path


def preprocessed_configurations(folder: Path) -> list[Configuration]:
    """Configurations of a preprocessed dataset whose cases are there.

    Raises
    ------
    UserError
        If a configuration was preprocessed by an nnU-Net that wrote other files.
    """
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    found: dict[Path, Configuration] = {}
    for plans in sorted(folder.glob("*.json")):
        content = read_object(plans)
        for name in content.get("configurations", {}) if "plans_name" in content else ():
            manager = PlansManager(content).get_configuration(name)
            cases = folder / manager.data_identifier
            if any(cases.glob("*.npz")):
                raise UserError(
                    cases,
                    "files of an earlier version of nnU-Net",
                    "files that the installed version writes",
                    "run nnUNetv2_preprocess again",
                )
            if any(cases.glob("*.b2nd")):
                found.setdefault(cases, Configuration(plans, name, cases))
    return list(found.values())


@dataclass
class Preprocessing:
    """Cases that were preprocessed again, by configuration, and why others were not."""

    done: dict[Configuration, list[str]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def outdated_cases(
    dataset: DatasetLayout, cases: Sequence[str], changing: Collection[str] = ()
) -> dict[Configuration, list[str]]:
    """Cases to preprocess again, by configuration; empty if the dataset is not preprocessed.

    Parameters
    ----------
    cases : sequence of str
        Cases whose label may have changed. Those without a scan in the dataset are left out.
    changing : collection of str
        Cases whose label is going to change.
    """
    folder = preprocessed_folder(dataset)
    if folder is None:
        return {}
    cases = [case for case in cases if dataset.image(case).is_file()]
    record = read_object(DatasetLayout(folder).clisc / RECORD_FILE)
    outdated = {}
    for configuration in preprocessed_configurations(folder):
        known = record.get(configuration.folder.name, {})
        again = [
            case
            for case in cases
            if case in changing or known.get(case) != _state(dataset, configuration, case)
        ]
        if again:
            outdated[configuration] = again
    return outdated


def preprocess_again(dataset: DatasetLayout, cases: Sequence[str]) -> Preprocessing:
    """Preprocess cases with their present labels, in every configuration that is preprocessed.

    A call that was interrupted can be repeated: it does what is left.
    """
    result, folder = Preprocessing(), preprocessed_folder(dataset)
    if folder is None:
        return result
    for left in folder.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(left, ignore_errors=True)
    for configuration, names in outdated_cases(dataset, cases).items():
        title = f"{configuration.plans.stem} {configuration.name}"
        for case in tqdm(names, title, unit="case"):
            try:
                _preprocess(dataset, configuration, case)
            except ScanError as error:
                result.failed[case] = str(error)
                continue
            _remember(dataset, configuration, case)
            result.done.setdefault(configuration, []).append(case)
    if preprocessed_configurations(folder):
        done = [case for case in cases if case not in result.failed]
        _copy_labels(dataset, folder / "gt_segmentations", done)
    return result


def _copy_labels(dataset: DatasetLayout, folder: Path, cases: Sequence[str]) -> None:
    """Copy labels to where nnU-Net's validation finds them."""
    for case in cases:
        label, copy = dataset.label(case), folder / f"{case}{FILE_ENDING}"
        if not (copy.is_file() and filecmp.cmp(label, copy, shallow=False)):
            with atomic_file(copy) as temporary:
                shutil.copy2(label, temporary)


def _preprocess(dataset: DatasetLayout, configuration: Configuration, case: str) -> None:
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    folder = configuration.folder.parent
    content = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    plans = PlansManager(str(configuration.plans))
    manager = plans.get_configuration(configuration.name)
    channels = range(len(content.get("channel_names") or content["modality"]))
    images = [dataset.image(case, number) for number in channels]
    for image in images:
        read_image(image)  # of a file that was cut short, ITK fills the rest with 0
    # nnU-Net takes every file in the folder of a configuration for a case.
    temporary = folder / f"{_TEMPORARY}{uuid.uuid4().hex[:12]}"
    temporary.mkdir()
    try:
        worker = manager.preprocessor_class(verbose=False)
        label, names = str(dataset.label(case)), [str(image) for image in images]
        worker.run_case_save(str(temporary / case), names, label, plans, manager, content)
        for path in sorted(temporary.iterdir()):
            replace_durably(path, configuration.folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remember(dataset: DatasetLayout, configuration: Configuration, case: str) -> None:
    path = DatasetLayout(configuration.folder.parent).clisc / RECORD_FILE
    record = read_object(path)
    of_folder = record.setdefault(configuration.folder.name, {})
    of_folder[case] = _state(dataset, configuration, case)
    write_text(path, json.dumps(record, indent=1) + "\n")


def _state(dataset: DatasetLayout, configuration: Configuration, case: str) -> dict[str, Any]:
    """Hash of the label, and size and time of the preprocessed files of a case."""
    names = (f"{case}.b2nd", f"{case}_seg.b2nd", f"{case}.pkl")
    there = [path for name in names if (path := configuration.folder / name).is_file()]
    return {
        "label": file_sha256(dataset.label(case)),
        "files": {path.name: [(known := path.stat()).st_size, known.st_mtime_ns] for path in there},
    }
