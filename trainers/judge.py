"""The SAM that judges predictions: the one that drew the labels, with the same slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from clisc_nnunet.drawing import Draughtsman
from clisc_nnunet.models.registry import BUNDLED_NAME
from clisc_nnunet.models.sam_models import SamModel, load_sam
from clisc_nnunet.settings import Settings, SliceSettings, preset, updated
from clisc_nnunet.similarity import Looks, make_draughtsman


@dataclass(frozen=True)
class Judge:
    """SAM and how it is asked.

    Parameters
    ----------
    sam : SamModel
    draughtsman : Draughtsman
    slices : SliceSettings
        Of the pseudo-labels, so that SAM sees what it saw then.
    """

    sam: SamModel
    draughtsman: Draughtsman
    slices: SliceSettings


def load_judge(
    dataset_json: Mapping[str, Any], name: str, looks: Looks, device: torch.device
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

    Raises
    ------
    UserError
        If the weights are absent or corrupt, or the settings are none.
    """
    made = dataset_json.get("clisc", {})
    settings = pipeline_settings(made)
    model = load_sam(name or made.get("sam", {}).get("name", BUNDLED_NAME), device)
    return Judge(model, make_draughtsman(model, settings, looks), settings.slices)


def pipeline_settings(made: Mapping[str, Any]) -> Settings:
    """Settings of the pseudo-labels; the default ones for a dataset that is not ours."""
    values = dict(made.get("settings", {}))
    return updated(preset(values.get("preset", "default")), values, "dataset.json: clisc")


def drew_the_labels(model: SamModel, dataset_json: Mapping[str, Any]) -> bool:
    """Whether this SAM is known to be the one that drew the dataset's labels."""
    return dataset_json.get("clisc", {}).get("sam", {}).get("sha256") == model.sha256
