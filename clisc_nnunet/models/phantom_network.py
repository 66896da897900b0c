"""The bundled segmentation network: an nnU-Net U-Net trained on phantoms alone.

It segments a scan without any training, and trainings whose plan has its architecture start from
it. The model card holds nnU-Net's plans and dataset.json, so that nnU-Net itself prepares scans
and predicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from clisc_nnunet.models.weights import BUNDLED, bundled_state

NAME = "network"
CONFIGURATION = "3d_fullres"
# Entries of a plan's architecture that decide names and shapes of the weights.
_SHAPING = ("n_stages", "features_per_stage", "n_conv_per_stage", "n_conv_per_stage_decoder")
_SHAPING_PER_AXIS = ("kernel_sizes", "strides")


@dataclass(frozen=True)
class PhantomNetwork:
    """Weights, and what nnU-Net needs to use them.

    Parameters
    ----------
    state : dict of float32 Tensor
        State dict of nnU-Net's `PlainConvUNet` with deep supervision.
    plans, dataset_json : dict
        As nnU-Net writes them.
    sha256 : str
        Of the weight file.
    """

    state: dict[str, torch.Tensor]
    plans: dict[str, Any]
    dataset_json: dict[str, Any]
    sha256: str

    @property
    def configuration(self) -> dict[str, Any]:
        """The plans' only configuration."""
        return self.plans["configurations"][CONFIGURATION]


def is_bundled() -> bool:
    """Whether this installation has the network."""
    return (BUNDLED / f"{NAME}.json").is_file()


@lru_cache(1)
def load_phantom_network() -> PhantomNetwork:
    """The bundled network; cached per process.

    Raises
    ------
    WeightsError
        If its files are missing or corrupt.
    """
    state, card = bundled_state(NAME)
    architecture = card["architecture"]
    return PhantomNetwork(
        state, architecture["plans"], architecture["dataset_json"], card["sha256"]
    )


def misfit(
    configuration: Mapping[str, Any], channels: int, outputs: int, network: PhantomNetwork
) -> str:
    """Why a training cannot start from the network; empty if it can.

    Parameters
    ----------
    configuration : mapping
        Configuration of nnU-Net's plans: spacing, architecture.
    channels, outputs : int
        Input channels and segmentation heads.
    network : PhantomNetwork

    Returns
    -------
    str
        The first difference that matters, such as "features 32, 64; the phantom network has 16".
    """
    own, wanted = network.configuration, configuration
    if channels != 1 or outputs != 2:
        return f"{channels} channels and {outputs} classes; the phantom network has 1 and 2"
    if [float(mm) for mm in wanted["spacing"]] != [float(mm) for mm in own["spacing"]]:
        return f"spacing {wanted['spacing']} mm; the phantom network has {own['spacing']} mm"
    there, here = wanted["architecture"], own["architecture"]
    if there["network_class_name"] != here["network_class_name"]:
        kind = there["network_class_name"].rpartition(".")[2]
        return f"the architecture {kind}; the phantom network is a PlainConvUNet"
    for key in (*_SHAPING, *_SHAPING_PER_AXIS):
        asked, has = there["arch_kwargs"].get(key), here["arch_kwargs"][key]
        if asked != has:
            return f"{key} {asked}; the phantom network has {has}"
    return ""
