"""The nnU-Net raw dataset that a conversion writes: folder, images, `dataset.json`."""

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

from clisc_nnunet.dataset_layout import FILE_ENDING, DatasetLayout
from clisc_nnunet.errors import UserError
from clisc_nnunet.io.atomic_write import atomic_file, write_json
from clisc_nnunet.io.paths import is_text, without_folder
from clisc_nnunet.io.volume import Source, Volume, check_grid, read_volume, write_volume
from clisc_nnunet.stages.slice_extraction import background_value

# Settings of the trainer, within the key `clisc` of dataset.json.
_TRAINER = "trainer"
_RAW = "nnUNet_raw"
# nnU-Net refuses an id that has two names in these folders together.
_NNUNET_FOLDERS = (_RAW, "nnUNet_preprocessed", "nnUNet_results")


def dataset_folder(
    dataset_id: int, name: str, root: Path | None = None, *, resume: bool = False
) -> Path:
    """Make the folder of a raw dataset, with `imagesTr`, `labelsTr` and `clisc` in it.

    Parameters
    ----------
    dataset_id : int
        1 to 999.
    name : str
        Letters, digits, `_`, `-` and `.`; "CLISC" with id 501 becomes `Dataset501_CLISC`.
    root : Path, optional
        Where to put it, made if absent; by default the folder that the variable `nnUNet_raw`
        names.
    resume : bool
        Go on with a folder that an earlier run of ours has begun.

    Returns
    -------
    Path

    Raises
    ------
    UserError
        If id or name cannot be used, the id is taken, or the folder cannot be written.
    """
    folder = checked_folder(dataset_id, name, root, resume=resume)
    try:
        # Our own folder first: by it another process, which starts now, knows the dataset as ours.
        dataset = DatasetLayout(folder)
        for part in (dataset.clisc, dataset.images, dataset.labels):
            part.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            folder, f"{error.strerror}", "a folder that can be written", "choose another with -o"
        ) from None
    return folder


def checked_folder(
    dataset_id: int, name: str, root: Path | None = None, *, resume: bool = False
) -> Path:
    """Path of the folder that `dataset_folder` would make, under the same conditions."""
    if not 1 <= dataset_id <= 999:
        raise UserError("-d", str(dataset_id), "a number from 1 to 999", "choose another id")
    if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
        raise UserError(
            "dataset name", repr(name), "letters, digits, '_', '-' and '.'", "choose another name"
        )
    root = _raw_folder() if root is None else root
    folder = root / f"Dataset{dataset_id:03d}_{name}"
    if not is_text(folder.absolute()):
        found = "a path with bytes that are no text"
        raise UserError(folder, found, "UTF-8", "choose another with -o")
    _check_free(folder, dataset_id, resume)
    return folder


def place_image(source: Path, target: Path, *, copy: bool = False, replace: bool = False) -> str:
    """Put a scan into a dataset as it is.

    Parameters
    ----------
    source : Path
        A `.nii.gz` file; others go through `write_image_with_zero_background`.
    target : Path
        `imagesTr/CASE_0000.nii.gz`.
    copy : bool
        Copy the file. By default it is linked: symbolically and by its absolute path, so that
        the dataset may be moved on this computer; where the system refuses, by a hard link or,
        last, a copy.
    replace : bool
        Take the place of another scan.

    Returns
    -------
    str
        `link`, `hard link` or `copy`; `kept` if the target is this scan already, and no link where
        a copy is asked for or to where the scan was before.

    Raises
    ------
    UserError
        If the target exists and is another scan, unless it is to be replaced.
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
                "a file that is there already",
                f"nothing, or the scan {source}",
                "remove it or choose another dataset id",
            )
    with atomic_file(target, _workshop(target)) as temporary:
        return _copy(source, temporary) if copy else _link(source, temporary)


def _stale_link(target: Path, source: Path, *, copy: bool) -> bool:
    """Whether a file is a symbolic link where a copy is asked for, or one to another place."""
    return target.is_symlink() and (copy or os.readlink(target) != str(source.absolute()))


def place_case(
    channels: Sequence[Source], prompt: Source, case: str, folder: Path, *, copy: bool = False
) -> None:
    """Put the scans of a case into `imagesTr`, one a channel, in place of earlier ones.

    Parameters
    ----------
    channels : sequence of (Path or Series)
        In nnU-Net's order.
    prompt : Path or Series
        The one of them that the label was drawn on. The others get its very geometry, of which
        they may differ by rounding: nnU-Net compares them.
    case : str
    folder : Path
        `Dataset501_CLISC`.
    copy : bool
        See `place_image`. Files that nnU-Net would not take as they are, and DICOM series, are
        written anew.

    Raises
    ------
    ScanError
        If a scan cannot be read, or lies on other voxels.
    """
    geometry = read_volume(prompt).geometry
    for number, source in enumerate(channels):
        volume = read_volume(source)
        check_grid(source, volume.geometry, geometry)
        target = DatasetLayout(folder).image(case, number)
        as_it_is = (
            isinstance(source, Path)
            and source.name.lower().endswith(FILE_ENDING)
            and not volume.repairs
            and volume.geometry == geometry
            and background_value(volume.array) == 0
        )
        if as_it_is and isinstance(source, Path):
            place_image(source, target, copy=copy, replace=True)
        else:
            write_image_with_zero_background(Volume(volume.array, geometry), target)


def write_image_with_zero_background(volume: Volume, target: Path) -> None:
    """Write a scan so that its background is exactly 0 and nothing else is.

    Parameters
    ----------
    volume : Volume
        Its background is what `background_value` finds.
    target : Path
        `imagesTr/CASE_0000.nii.gz`; written whole or not at all, replaced if it is there.

    Notes
    -----
    nnU-Net crops a scan to its voxels other than 0 and takes its statistics there. If the
    background is some other number, all intensities are shifted by it: contrast and z-score
    stay, and a voxel that happened to be 0 no longer looks like background.
    """
    background = np.float32(background_value(volume.array))
    shifted = volume.array - background
    write_volume(target, shifted, volume.geometry, folder=_workshop(target))


def write_dataset_json(
    folder: Path,
    *,
    n_cases: int,
    clisc: dict[str, Any],
    channel_names: Sequence[str] = ("FLAIR",),
    file_ending: str = FILE_ENDING,
    overwrite: bool = False,
) -> None:
    """Write `dataset.json`, which turns a folder into an nnU-Net raw dataset.

    Parameters
    ----------
    folder : Path
        `Dataset501_CLISC`.
    n_cases : int
        Number of training cases, at least 1.
    clisc : dict
        What the trainer needs: names and hashes of models, settings. nnU-Net copies it into
        every checkpoint, so absolute paths are shortened to the file's name. The settings that
        people have written beside it (`trainer_settings`) stay as they are.
    channel_names : sequence of str
        In order. They decide nnU-Net's normalisation: any name but CT means z-score.
    file_ending : str
        Of all images and labels.
    overwrite : bool
        Replace a `dataset.json` that says something else.

    Raises
    ------
    UserError
        If there is another `dataset.json` and `overwrite` is not set, or one that is no object.
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
    """What people have set for the trainer in a dataset's `dataset.json`; None for nothing.

    Raises
    ------
    UserError
        If the file is there and is no JSON object: what it says would be lost.
    """
    path = DatasetLayout(folder).dataset_json
    try:
        made = json.loads(path.read_text(encoding="utf-8")).get("clisc")
    except FileNotFoundError:
        return None
    except (ValueError, AttributeError):
        hint = "mend it, or move it away"
        raise UserError(path, "no JSON object", "one", hint) from None
    return made.get(_TRAINER) if isinstance(made, dict) else None


def describe_next_commands(dataset_id: int) -> str:
    """nnU-Net's commands that train on the dataset and predict with the result."""
    return f"""Next, with nnU-Net's own commands:
  nnUNetv2_plan_and_preprocess -d {dataset_id} -c 3d_fullres --verify_dataset_integrity
  nnUNetv2_train {dataset_id} 3d_fullres all -tr nnUNetTrainerCLISC
  nnUNetv2_predict -d {dataset_id} -c 3d_fullres -f all -tr nnUNetTrainerCLISC -i SCANS -o OUT
Without a GPU, small plans instead:
  nnUNetv2_plan_and_preprocess -d {dataset_id} --no_pp --verify_dataset_integrity
  clisc_add_small_plans -d {dataset_id}"""


def _workshop(target: Path) -> Path:
    """Where an image lies until it is whole: in imagesTr nnU-Net would take it for a case."""
    return DatasetLayout(target.parent.parent).stages


def _raw_folder() -> Path:
    value = os.environ.get(_RAW)
    if not value:
        raise UserError(_RAW, "a variable that is not set", "a folder", "export it or give -o")
    return Path(value)


def _check_free(folder: Path, dataset_id: int, resume: bool) -> None:
    roots = [folder.parent, *(Path(os.environ[v]) for v in _NNUNET_FOLDERS if os.environ.get(v))]
    for root in roots:
        # nnU-Net compares the first letters only, without the underscore.
        for other in sorted(root.glob(f"Dataset{dataset_id:03d}*")):
            if other.name != folder.name and other.is_dir():
                raise UserError(
                    other,
                    f"dataset id {dataset_id} taken",
                    "an id that no dataset has",
                    "choose another with -d",
                )
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not DatasetLayout(folder).clisc.is_dir():
        raise UserError(
            folder,
            "a dataset that this command did not make",
            "a new or empty folder",
            "choose another id with -d",
        )
    if not resume:
        raise UserError(
            folder,
            "a dataset that this command has begun or finished",
            "a new or empty folder",
            "go on with --continue, remove it, or choose another id with -d",
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
    """The same value, with absolute paths in it shortened: see `without_folder`."""
    if isinstance(value, dict):
        return {key: _without_folders(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_folders(item) for item in value]
    if isinstance(value, PurePath):
        return value.name
    return without_folder(value) if isinstance(value, str) else value
