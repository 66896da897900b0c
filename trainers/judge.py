"""The SAM that judges predictions: the one that drew the labels, with the same slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from clisc_nnunet.drawing import Draughtsman
from clisc_nnunet.errors import UserError
from clisc_nnunet.kept_slices import KeptSlices
from clisc_nnunet.models.sam_models import SamModel, load_sam
from clisc_nnunet.settings import Settings, SliceSettings, preset, updated
from clisc_nnunet.similarity import Looks, make_draughtsman
from clisc_nnunet.trainers.find_sam import find_sam


@dataclass(frozen=True)
class Judge:
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
    draughtsman: Draughtsman
    slices: SliceSettings
    channel: int = 0
    kept: KeptSlices | None = None


def load_judge(
    dataset_json: Mapping[str, Any],
    name: str,
    looks: Looks,
    device: torch.device,
    clisc: Path | None = None,
    *,
    records: Sequence[Path] = (),
    option: str = "CLISC_SAM=",
) -> Judge:
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
    settings, channel = pipeline_settings(dataset_json), prompt_channel(dataset_json)
    if not name:
        folders = [clisc, *records] if clisc is not None else records
        name = find_sam(_entry(dataset_json, "sam"), folders, option)
    model = load_sam(name, device)
    kept = None if clisc is None else KeptSlices(clisc, settings.slices)
    return Judge(model, make_draughtsman(model, settings, looks), settings.slices, channel, kept)


def pipeline_settings(dataset_json: Mapping[str, Any]) -> Settings:
    """Settings of the pseudo-labels; the default ones for a dataset that is not ours."""
    values = _entry(dataset_json, "settings")
    return updated(preset(values.get("preset", "default")), values, "dataset.json: clisc: settings")


def prompt_channel(dataset_json: Mapping[str, Any]) -> int:
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
