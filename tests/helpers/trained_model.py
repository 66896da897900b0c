"""A model as nnU-Net's training leaves it, with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from helpers.tiny_nnunet import CONFIGURATION, PLANS, dataset_json, plans


def make_model(
    dataset: Path,
    trainer: str = "nnUNetTrainer",
    folds: tuple[str, ...] = ("0",),
    **changes: Any,
) -> Path:
    """Folder of a model of `dataset`; `changes` replace entries of its dataset.json."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    folder = dataset / f"{trainer}__{PLANS}__{CONFIGURATION}"
    architecture = plans()["configurations"][CONFIGURATION]["architecture"]
    for number, fold in enumerate(folds):
        torch.manual_seed(number)
        network = get_network_from_plans(
            architecture["network_class_name"],
            architecture["arch_kwargs"],
            architecture["_kw_requires_import"],
            1,
            2,
            deep_supervision=False,
        )
        place = folder / f"fold_{fold}"
        place.mkdir(parents=True)
        checkpoint = {
            "network_weights": network.state_dict(),
            "trainer_name": trainer,
            "init_args": {"configuration": CONFIGURATION},
            "inference_allowed_mirroring_axes": (0, 1, 2),
        }
        torch.save(checkpoint, place / "checkpoint_final.pth")
    (folder / "plans.json").write_text(json.dumps(plans()))
    (folder / "dataset.json").write_text(json.dumps(dataset_json() | changes))
    return folder
