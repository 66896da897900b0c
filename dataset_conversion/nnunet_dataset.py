"""Writing of an nnU-Net raw dataset: folder, images, `dataset.json`."""

from __future__ import annotations

import filecmp
import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from clisc_nnunet.dataset_conversion.preprocessed_lists import PREPROCESSED, RAW
from clisc_nnunet.dataset_layout import FILE_ENDING, DatasetLayout
from clisc_nnunet.errors import UserError, one_line
from clisc_nnunet.io.atomic_write import atomic_file, write_json
from clisc_nnunet.io.paths import is_text, without_folder
from clisc_nnunet.io.volume import Source, Volume, check_grid, read_volume, write_volume
from clisc_nnunet.stages.slice_extraction import background_value

# Settings of the trainer, within the key `clisc` of dataset.json.
_TRAINER = "trainer"
# nnU-Net rejects an id that has two names in these folders.
_NNUNET_FOLDERS = (RAW, PREPROCESSED, "nnUNet_results")


def dataset_folder(
    dataset_id: int, name: str, root: Path | None = None, *, resume: bool = False
) -> Path:
    """Create the folder of a raw dataset, with `imagesTr`, `labelsTr` and `clisc`.

    Parameters
    ----------
    dataset_id : int
        1 to 999.
    name : str
        Letters, digits, `_`, `-` and `.`; "CLISC" with id 501 becomes `Dataset501_CLISC`.
    root : Path, optional
        Parent folder, created if missing; default: the environment variable `nnUNet_raw`.
    resume : bool
        Accept a dataset of an earlier run.

    Returns
    -------
    Path

    Raises
    ------
    UserError
        If id or name is invalid, the id is in use, or the folder is not writable.
    """
    folder = checked_folder(dataset_id, name, root, resume=resume)
    try:
        # First the folder by which other processes, started now, recognise the dataset as ours.
        dataset = DatasetLayout(folder)
        for part in (dataset.clisc, dataset.images, dataset.labels):
            part.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            folder, f"{error.strerror}", "a writable folder", "choose another with -o"
        ) from None
    return folder


def checked_folder(
    dataset_id: int, name: str, root: Path | None = None, *, resume: bool = False
) -> Path:
    """Path that `dataset_folder` would create, after the same checks."""
    if not 1 <= dataset_id <= 999:
        raise UserError("-d", str(dataset_id), "a number from 1 to 999", "choose another id")
    if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
        raise UserError(
            "dataset name", repr(name), "letters, digits, '_', '-' and '.'", "choose another name"
        )
    root = _raw_folder() if root is None else root
    folder = root / f"Dataset{dataset_id:03d}_{name}"
    if not is_text(folder.absolute()):
        found = "a path that is not valid text"
        raise UserError(folder, found, "UTF-8", "choose another with -o")
    _check_free(folder, dataset_id, resume)
    return folder


def existing_dataset(dataset_id: int, root: Path | None = None) -> Path:
    """Folder of a raw dataset that the converter has made.

    Parameters
    ----------
    root : Path, optional
        Parent folder; default: the environment variable `nnUNet_raw`.

    Raises
    ------
    UserError
        If there is none, or several with this id.
    """
    root = _raw_folder() if root is None else root
    found = sorted(p for p in root.glob(f"Dataset{dataset_id:03d}_*") if p.is_dir())
    if len(found) != 1:
        count = f"{len(found) or 'no'} datasets with id {dataset_id}"
        raise UserError(root, count, "one", "check -d, and -o or nnUNet_raw")
    if not DatasetLayout(found[0]).clisc.is_dir():
        expected = "a dataset of clisc_make_pseudo_dataset"
        raise UserError(found[0], "another dataset", expected, "check -d")
    return found[0]


def place_image(source: Path, target: Path, *, copy: bool = False, replace: bool = False) -> str:
    """Place a scan in a dataset unchanged.

    Parameters
    ----------
    source : Path
        A `.nii.gz` file; others go through `write_image_with_zero_background`.
    target : Path
        `imagesTr/CASE_0000.nii.gz`.
    copy : bool
        Copy the file. By default it is linked symbolically, by its absolute path, so that the
        dataset can be moved on this computer; without support for this, by a hard link or a copy.
    replace : bool
        Replace another scan.

    Returns
    -------
    str
        `link`, `hard link` or `copy`; `kept` if the target has the same content already, and is not
        a link to another path or in place of a copy.

    Raises
    ------
    UserError
        If the target exists with other content, unless `replace`.
    """
    if not source.name.lower().endswith(FILE_ENDING):
        raise ValueError(f"{source} does not end in {FILE_ENDING}")
    if os.path.lexists(target):
        same = target.exists() and filecmp.cmp(source, target)
        if same and not _stale_link(target, source, copy=copy):
            return "kept"
        if not same and not replace:
            raise UserError(
                target,
                "an existing file",
                f"no file, or the scan {source}",
                "remove it or choose another dataset id",
            )
    with atomic_file(target, _temporary_folder(target)) as temporary:
        return _copy(source, temporary) if copy else _link(source, temporary)


def _stale_link(target: Path, source: Path, *, copy: bool) -> bool:
    """Whether the target is a symbolic link to another path, or in place of a copy."""
    return target.is_symlink() and (copy or os.readlink(target) != str(source.absolute()))


def place_case(
    channels: Sequence[Source], label_scan: Source, case: str, folder: Path, *, copy: bool = False
) -> list[str]:
    """Place the scans of a case in `imagesTr`, one per channel, replacing earlier ones.

    A scan is linked or copied where nnU-Net's reader sees in it what we do, and written again
    otherwise.

    Parameters
    ----------
    channels : sequence of (Path or Series)
        In nnU-Net's order.
    label_scan : Path or Series
        The one from which the label was made. The others get exactly its geometry, since nnU-Net
        compares geometries and theirs may differ by rounding.
    folder : Path
        `Dataset501_CLISC`.
    copy : bool
        See `place_image`.

    Returns
    -------
    list of str
        Repairs of headers and the like (`Volume.repairs`), one line each with the scan.

    Raises
    ------
    ScanError
        If a scan cannot be read, or has another grid.
    """
    geometry, repairs = read_volume(label_scan).geometry, []
    for number, source in enumerate(channels):
        volume = read_volume(source)
        check_grid(source, volume.geometry, geometry)
        repairs += [f"{one_line(source)}: {repair}" for repair in volume.repairs]
        target = DatasetLayout(folder).image(case, number)
        unchanged = (
            isinstance(source, Path)
            and source.name.lower().endswith(FILE_ENDING)
            and not volume.repairs
            and volume.geometry == geometry
            and background_value(volume.array) == 0
        )
        if unchanged and isinstance(source, Path):
            place_image(source, target, copy=copy, replace=True)
        else:
            write_image_with_zero_background(Volume(volume.array, geometry), target)
    return repairs


def write_image_with_zero_background(volume: Volume, target: Path) -> None:
    """Write a scan shifted such that its background, and nothing else, is exactly 0.

    Parameters
    ----------
    volume : Volume
        Its background is determined by `background_value`.
    target : Path
        `imagesTr/CASE_0000.nii.gz`; written atomically, replaced if it exists.

    Notes
    -----
    nnU-Net crops scans to their nonzero voxels and computes statistics there. If the background has
    another value, it is subtracted from all intensities: contrast and z-scores do not change, and
    foreground voxels of value 0 are no longer taken for background.
    """
    background = np.float32(background_value(volume.array))
    shifted = volume.array - background
    write_volume(target, shifted, volume.geometry, folder=_temporary_folder(target))


def write_dataset_json(
    folder: Path,
    *,
    n_cases: int,
    clisc: dict[str, Any],
    channel_names: Sequence[str] = ("FLAIR",),
    file_ending: str = FILE_ENDING,
    overwrite: bool = False,
) -> None:
    """Write `dataset.json` of an nnU-Net raw dataset.

    Parameters
    ----------
    folder : Path
        `Dataset501_CLISC`.
    n_cases : int
        Number of training cases, at least 1.
    clisc : dict
        Names and hashes of models, and settings, for the trainer. nnU-Net copies them into every
        checkpoint, so absolute paths are shortened to file names. Existing trainer settings of the
        user (`trainer_settings`) are kept.
    channel_names : sequence of str
        In order. They determine nnU-Net's normalisation: z-score for all names but CT.
    file_ending : str
        File ending of all images and labels.
    overwrite : bool
        Replace a different `dataset.json`.

    Raises
    ------
    UserError
        If a different `dataset.json` exists, unless `overwrite`, or one that is not an object.
    """
    if n_cases < 1:
        raise ValueError("a dataset needs at least one case")
    chosen = trainer_settings(folder)
    content = {
        "channel_names": {str(n): name for n, name in enumerate(channel_names)},
        "labels": {"background": 0, "tumour": 1},
        "numTraining": n_cases,
        "file_ending": file_ending,
        "overwrite_image_reader_writer": "SimpleITKIO",
        "clisc": _without_folders(clisc) | ({} if chosen is None else {_TRAINER: chosen}),
    }
    write_json(DatasetLayout(folder).dataset_json, content, overwrite=overwrite)


def trainer_settings(folder: Path) -> Any:
    """Trainer settings that the user has added to `dataset.json`; None without any.

    Raises
    ------
    UserError
        If the file is not a JSON object, since its content would be lost.
    """
    path = DatasetLayout(folder).dataset_json
    try:
        made = json.loads(path.read_text(encoding="utf-8")).get("clisc")
    except FileNotFoundError:
        return None
    except (ValueError, AttributeError):
        hint = "fix or move it"
        raise UserError(path, "invalid JSON", "a JSON object", hint) from None
    return made.get(_TRAINER) if isinstance(made, dict) else None


def describe_next_commands(dataset_id: int) -> str:
    """nnU-Net's commands to train on the dataset and predict with the result."""
    return f"""Next, with nnU-Net's own commands:
  nnUNetv2_plan_and_preprocess -d {dataset_id} -c 3d_fullres --verify_dataset_integrity
  nnUNetv2_train {dataset_id} 3d_fullres all -tr nnUNetTrainerCLISC
  nnUNetv2_predict -d {dataset_id} -c 3d_fullres -f all -tr nnUNetTrainerCLISC -i SCANS -o OUT
Without a GPU, small plans instead:
  nnUNetv2_plan_and_preprocess -d {dataset_id} --no_pp --verify_dataset_integrity
  clisc_add_small_plans -d {dataset_id}"""


def _temporary_folder(target: Path) -> Path:
    """Folder for incomplete images, which nnU-Net would take for cases in imagesTr."""
    return DatasetLayout(target.parent.parent).stages


def _raw_folder() -> Path:
    value = os.environ.get(RAW)
    if not value:
        raise UserError(RAW, "a variable that is not set", "a folder", "export it or give -o")
    return Path(value)


def _check_free(folder: Path, dataset_id: int, resume: bool) -> None:
    roots = [folder.parent, *(Path(os.environ[v]) for v in _NNUNET_FOLDERS if os.environ.get(v))]
    for root in roots:
        # nnU-Net compares this prefix only, without the underscore.
        for other in sorted(root.glob(f"Dataset{dataset_id:03d}*")):
            if other.name != folder.name and other.is_dir():
                raise UserError(
                    other,
                    f"dataset id {dataset_id} in use",
                    "an unused id",
                    "choose another with -d",
                )
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not DatasetLayout(folder).clisc.is_dir():
        raise UserError(
            folder,
            "a dataset that was not made by this command",
            "a new or empty folder",
            "choose another id with -d",
        )
    if not resume:
        raise UserError(
            folder,
            "an existing dataset of this command",
            "a new or empty folder",
            "use --continue, remove it, or choose another id with -d",
        )


def _link(source: Path, target: Path) -> str:
    try:
        target.symlink_to(source.absolute())
        return "link"
    except (OSError, NotImplementedError):  # file systems and accounts without symbolic links
        pass
    try:
        os.link(source, target)
        return "hard link"
    except (OSError, NotImplementedError):  # or another file system
        return _copy(source, target)


def _copy(source: Path, target: Path) -> str:
    shutil.copy2(source, target)
    return "copy"


def _without_folders(value: Any) -> Any:
    """The same value with absolute paths shortened by `without_folder`."""
    if isinstance(value, dict):
        return {key: _without_folders(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_folders(item) for item in value]
    if isinstance(value, PurePath):
        return value.name
    return without_folder(value) if isinstance(value, str) else value
