"""Short trainings with nnUNetTrainerCLISC, as run by nnU-Net, on a few small heads."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import torch

from clisc_nnunet.trainers.nnUNetTrainerCLISC import nnUNetTrainerCLISC
from clisc_nnunet.trainers.round_settings import RoundSettings
from helpers.tiny_nnunet import CONFIGURATION, NAME, PLANS

# The network in training judges, with labels as they are. It learns little in two epochs, so no
# agreement counts as too low.
DEFAULT = RoundSettings(
    rounds=(0.5,),
    judge="network",
    keep_ratio=0.8,
    min_similarity=0.0,
    measure="support",
    components="largest",
    relabel="none",
)


def make_trainer(
    root,
    settings=DEFAULT,
    fold="all",
    base=nnUNetTrainerCLISC,
    epochs=4,
    configuration=CONFIGURATION,
):
    folder = root / "nnUNet_preprocessed" / NAME
    plans = json.loads((folder / f"{PLANS}.json").read_text())
    kind = type(base.__name__, (base,), {"clisc_settings": settings})
    content = json.loads((folder / "dataset.json").read_text())
    trainer = kind(
        plans | {"continue_training": False}, configuration, fold, content, torch.device("cpu")
    )
    trainer.num_epochs = epochs
    trainer.num_iterations_per_epoch = 4
    trainer.num_val_iterations_per_epoch = 1
    return trainer


def train(trainer, seed=0):
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the generator that batchgenerators draws from
    torch.manual_seed(seed)
    trainer.run_training()
    return trainer


def continued(root, settings=DEFAULT, **how):
    """Trainer as created by `nnUNetv2_train --c`."""
    trainer = make_trainer(root, settings, **how)
    trainer.load_checkpoint(str(Path(trainer.output_folder) / "checkpoint_latest.pth"))
    return trainer


def facts(trainer, number=1):
    return json.loads((clisc_folder(trainer) / f"round_{number:02d}.json").read_text())


def clisc_folder(trainer):
    return Path(trainer.output_folder) / "clisc"


def log_of(trainer):
    files = sorted(Path(trainer.output_folder).glob("training_log_*.txt"))
    return "".join(file.read_text() for file in files)
