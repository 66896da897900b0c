"""SAM as used for a dataset's pseudo-labels: the same model, slices and settings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from clisc_nnunet.errors import UserError
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.io.paths import without_folder
from clisc_nnunet.models.locate import find_entry, split_entry_and_path
from clisc_nnunet.models.registry import BUNDLED_NAME
from clisc_nnunet.models.sam import SamModel, load_sam
from clisc_nnunet.s3f.dataset_slices import DatasetSlices
from clisc_nnunet.s3f.similarity import SamPasses, make_volume_segmenter
from clisc_nnunet.settings import Settings, SliceSettings, preset, updated
from clisc_nnunet.stages.sam.volume_segmenter import VolumeSegmenter


@dataclass(frozen=True)
class DatasetSam:
    """SAM, configured as for the pseudo-labels of a dataset.

    Parameters
    ----------
    sam : SamModel
    segmenter : VolumeSegmenter
    slices : SliceSettings
        Settings of the pseudo-labels, so that SAM gets the same kind of slices.
    channel : int
        Index of the nnU-Net channel from which the pseudo-labels were made.
    kept : DatasetSlices or None
        The stored slices, if the raw dataset is available.
    """

    sam: SamModel
    segmenter: VolumeSegmenter
    slices: SliceSettings
    channel: int = 0
    kept: DatasetSlices | None = None


def load_dataset_sam(
    dataset_json: Mapping[str, Any],
    name: str,
    passes: SamPasses,
    device: torch.device,
    clisc: Path | None = None,
    *,
    records: Sequence[Path] = (),
    option: str = "CLISC_SAM=",
) -> DatasetSam:
    """Load the SAM of a dataset.

    Parameters
    ----------
    dataset_json : mapping
        Content of dataset.json; its optional key `clisc` has the settings and the SAM of the
        pseudo-labels.
    name : str
        Name or path of a SAM; empty: the SAM of the pseudo-labels.
    passes : {'axial', 'all'}
        See `make_volume_segmenter`.
    device : torch.device
    clisc : Path, optional
        The `clisc` folder of the raw dataset.
    records : sequence of Path
        Further `clisc` folders whose `run.json` may contain the path of the SAM.
    option : str
        See `find_sam`.

    Raises
    ------
    UserError
        If the weights are missing or corrupt, or the settings are invalid.
    """
    settings, channel = pipeline_settings(dataset_json), label_channel(dataset_json)
    if not name:
        folders = [clisc, *records] if clisc is not None else records
        name = find_sam(_entry(dataset_json, "sam"), folders, option)
    model = load_sam(name, device)
    kept = None if clisc is None else DatasetSlices(clisc, settings.slices)
    return DatasetSam(
        model, make_volume_segmenter(model, settings, passes), settings.slices, channel, kept
    )


def pipeline_settings(dataset_json: Mapping[str, Any]) -> Settings:
    """Settings of the pseudo-labels; the defaults if the dataset was not made by CLISC."""
    values = _entry(dataset_json, "settings")
    return updated(preset(values.get("preset", "default")), values, "dataset.json: clisc: settings")


def label_channel(dataset_json: Mapping[str, Any]) -> int:
    """Index of the channel from which the pseudo-labels were made; 0 if not recorded.

    Raises
    ------
    UserError
        If the dataset has no such channel.
    """
    made = dataset_json.get("clisc") or {}
    number = made.get("prompt_channel", 0) if isinstance(made, dict) else 0
    known = list(dataset_json.get("channel_names", {"0": "FLAIR"}))
    if isinstance(number, bool) or not isinstance(number, int) or str(number) not in known:
        where = "dataset.json: clisc: prompt_channel"
        raise UserError(where, repr(number), f"one of {', '.join(known)}", "fix the value")
    return number


def is_pseudo_label_sam(model: SamModel, dataset_json: Mapping[str, Any]) -> bool:
    """Whether this SAM is recorded as the one that made the dataset's labels."""
    recorded = _entry(dataset_json, "sam")
    if "identity" in recorded:
        return recorded["identity"] == model.identity
    # Datasets of earlier versions only have the hash.
    return recorded.get("sha256") == model.sha256


def _entry(dataset_json: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Sub-object of the key `clisc`; empty if missing or null."""
    made = dataset_json.get("clisc") or {}
    part = (made.get(name) or {}) if isinstance(made, dict) else made
    if not isinstance(part, dict):
        where = f"dataset.json: clisc: {name}"
        raise UserError(where, f"{part!r}", "a JSON object", "fix or remove it")
    return part


def find_sam(recorded: Mapping[str, Any], folders: Iterable[Path], option: str) -> str:
    """Find the SAM that made the labels; returns the argument for `load_sam`.

    Parameters
    ----------
    recorded : mapping
        `name` and `sha256` of the SAM, from `dataset.json`.
    folders : iterable of Path
        `clisc` folders of raw datasets, which may not exist; their `run.json` may contain the
        path.
    option : str
        Prefix of the option that sets a SAM file, for the error message.

    Raises
    ------
    UserError
        If the SAM is a checkpoint file, and no file with this name and hash is found.
    """
    name, digest = str(recorded.get("name") or BUNDLED_NAME), recorded.get("sha256")
    if name == BUNDLED_NAME or find_entry(name, "sam") is not None:
        return name
    others = []
    # Finally try a file of this name in the working directory.
    for candidate in dict.fromkeys((*map(_sam_of_run, folders), name)):
        # The file name must match, too: it may determine the architecture.
        if without_folder(candidate) != without_folder(name):
            continue
        path = split_entry_and_path(candidate, "sam")[1]
        if not path.is_file():
            continue
        # Without a hash, the entry in dataset.json was written by hand.
        if digest is None or file_sha256(path) == digest:
            return candidate
        others.append(str(path))
    entry = split_entry_and_path(name, "sam")[0]
    raise UserError(
        f"dataset.json: clisc: sam: {without_folder(name)}",
        f"another file under this name ({', '.join(others)})" if others else "no such file",
        "the SAM that made the labels" + (f", sha256 {str(digest)[:12]}..." if digest else ""),
        f"set its path: {option}{entry.name + '=' if entry else ''}FILE",
    )


def _sam_of_run(folder: Path) -> str:
    """Name or path of the SAM of a conversion; empty if not recorded."""
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return str(record["models"]["sam"]["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
