"""The SAM that judges predictions: the one that drew the labels, with the same slices."""

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
    """SAM and how it is asked.

    Parameters
    ----------
    sam : SamModel
    draughtsman : Draughtsman
    slices : SliceSettings
        Of the pseudo-labels, so that SAM sees what it saw then.
    channel : int
        Of nnU-Net's channels the one that the pseudo-labels were drawn on.
    kept : KeptSlices or None
        The slices themselves, as far as the raw dataset is at hand.
    """

    sam: SamModel
    segmenter: VolumeSegmenter
    slices: SliceSettings
    channel: int = 0
    kept: DatasetSlices | None = None


def load_dataset_sam(
    dataset_json: Mapping[str, Any],
    name: str,
    looks: SamPasses,
    device: torch.device,
    clisc: Path | None = None,
    *,
    records: Sequence[Path] = (),
    option: str = "CLISC_SAM=",
) -> DatasetSam:
    """Load the judge of a dataset.

    Parameters
    ----------
    dataset_json : mapping
        Its key `clisc`, where there is one, tells settings and SAM of the pseudo-labels.
    name : str
        Name or path of a SAM; empty for the dataset's.
    looks : str
        See `make_draughtsman`.
    device : torch.device
    clisc : Path, optional
        The `clisc` folder of the raw dataset.
    records : sequence of Path
        More such folders, which may tell where the dataset's SAM lies.
    option : str
        See `find_sam`.

    Raises
    ------
    UserError
        If the weights are absent or corrupt, or the settings are none.
    """
    settings, channel = pipeline_settings(dataset_json), label_channel(dataset_json)
    if not name:
        folders = [clisc, *records] if clisc is not None else records
        name = find_sam(_entry(dataset_json, "sam"), folders, option)
    model = load_sam(name, device)
    kept = None if clisc is None else DatasetSlices(clisc, settings.slices)
    return DatasetSam(
        model, make_volume_segmenter(model, settings, looks), settings.slices, channel, kept
    )


def pipeline_settings(dataset_json: Mapping[str, Any]) -> Settings:
    """Settings of the pseudo-labels; the default ones for a dataset that is not ours."""
    values = _entry(dataset_json, "settings")
    return updated(preset(values.get("preset", "default")), values, "dataset.json: clisc: settings")


def label_channel(dataset_json: Mapping[str, Any]) -> int:
    """Number of the channel that SAM looks at; 0 for a dataset that does not tell.

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
        raise UserError(where, repr(number), f"a number of {', '.join(known)}", "mend the value")
    return number


def drew_the_labels(model: SamModel, dataset_json: Mapping[str, Any]) -> bool:
    """Whether this SAM is known to be the one that drew the dataset's labels."""
    noted = _entry(dataset_json, "sam")
    if "identity" in noted:
        return noted["identity"] == model.identity
    # Datasets of earlier versions tell the hash alone.
    return noted.get("sha256") == model.sha256


def _entry(dataset_json: Mapping[str, Any], name: str) -> dict[str, Any]:
    """One part of the key `clisc`; empty where it is absent or null."""
    made = dataset_json.get("clisc") or {}
    part = (made.get(name) or {}) if isinstance(made, dict) else made
    if not isinstance(part, dict):
        where = f"dataset.json: clisc: {name}"
        raise UserError(where, f"{part!r}", "a JSON object", "mend or remove it")
    return part


def find_sam(noted: Mapping[str, Any], folders: Iterable[Path], option: str) -> str:
    """What `load_sam` takes for the SAM that drew the labels.

    Parameters
    ----------
    noted : mapping
        `name` and `sha256` of that SAM, as `dataset.json` has them.
    folders : iterable of Path
        `clisc` folders of raw datasets whose `run.json` may know the file; they need not be there.
    option : str
        How a user names a SAM, for the error: what comes before the file.

    Raises
    ------
    UserError
        If it is a file, and there is none of this name and hash.
    """
    name, digest = str(noted.get("name") or BUNDLED_NAME), noted.get("sha256")
    if name == BUNDLED_NAME or find_entry(name, "sam") is not None:
        return name
    others = []
    # The last one: a file of this name in the working directory.
    for candidate in dict.fromkeys((*map(_recorded, folders), name)):
        # Taken for the same entry, and of the same file name, which may tell an entry as well.
        if without_folder(candidate) != without_folder(name):
            continue
        path = split_entry_and_path(candidate, "sam")[1]
        if not path.is_file():
            continue
        # Who wrote no hash into dataset.json has named the file himself.
        if digest is None or file_sha256(path) == digest:
            return candidate
        others.append(str(path))
    entry = split_entry_and_path(name, "sam")[0]
    raise UserError(
        f"dataset.json: clisc: sam: {without_folder(name)}",
        f"another file under this name ({', '.join(others)})" if others else "no such file",
        "the SAM that drew the labels" + (f", sha256 {str(digest)[:12]}..." if digest else ""),
        f"say where it lies: {option}{entry.name + '=' if entry else ''}FILE",
    )


def _recorded(folder: Path) -> str:
    """The SAM of a run of the converter, with the folder it lay in; empty if that is not known."""
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return str(record["models"]["sam"]["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
