"""What a training with rounds needs of checkpoints: an entry of its own, and a fresh start."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from torch import nn


def save_with_entry(save: Callable[[str], None], path: str, key: str, entry: Any) -> None:
    """Let nnU-Net write a checkpoint, add an entry, and let the file appear whole.

    Parameters
    ----------
    save : callable
        nnU-Net's `save_checkpoint`.
    path : str
    key : str
    entry : object
        Of plain Python types. nnU-Net passes over keys that it does not know.
    """
    unfinished = f"{path}.part"
    try:
        save(unfinished)
        # weights_only would refuse nnU-Net's own content; the file was written a moment ago.
        checkpoint = torch.load(unfinished, map_location="cpu", weights_only=False)
        checkpoint[key] = entry
        torch.save(checkpoint, unfinished)
        os.replace(unfinished, path)
    finally:
        Path(unfinished).unlink(missing_ok=True)


def keep_copy(path: Path, name: str) -> None:
    """Keep a checkpoint under a second name in its folder; takes no space where links are known."""
    kept, unfinished = path.with_name(name), path.with_name(f"{name}.part")
    unfinished.unlink(missing_ok=True)
    try:
        os.link(path, unfinished)
    except OSError:
        shutil.copyfile(path, unfinished)
    os.replace(unfinished, kept)


def read_entry(path: str, key: str) -> Any:
    """Entry of a checkpoint, or None; the user's own file, which nnU-Net itself loads so."""
    return torch.load(Path(path), map_location="cpu", weights_only=False).get(key)


class RestartedPolyLR(PolyLRScheduler):
    """nnU-Net's decay of the learning rate over the epochs from a restart to the end."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, initial_lr: float, first: int, last: int
    ) -> None:
        self._first = first
        super().__init__(optimizer, initial_lr, last - first)

    def step(self, current_step: int | None = None) -> None:
        """Set the rate of an epoch, counted from the training's first."""
        super().step(None if current_step is None else max(current_step - self._first, 0))


def restart_network(network: nn.Module, fresh: nn.Module) -> None:
    """Give a network, wrapped or compiled as it may be, the weights of a fresh one."""
    inner = getattr(network, "module", network)
    inner = getattr(inner, "_orig_mod", inner)
    inner.load_state_dict(fresh.state_dict())
