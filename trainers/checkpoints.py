"""Checkpoints of a training with rounds: an additional entry, and copies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def save_with_entry(save: Callable[[str], None], path: str, key: str, entry: Any) -> None:
    """Let nnU-Net write a checkpoint, add an entry, and rename the file when it is complete.

    Parameters
    ----------
    save : callable
        nnU-Net's `save_checkpoint`.
    path : str
    key : str
        Name of the entry; nnU-Net ignores unknown keys.
    entry : object
        Consists of plain Python types.
    """
    unfinished = f"{path}.part"
    try:
        save(unfinished)
        # nnU-Net's checkpoints cannot be loaded with weights_only; this file was just written.
        checkpoint = torch.load(unfinished, map_location="cpu", weights_only=False)
        checkpoint[key] = entry
        torch.save(checkpoint, unfinished)
        os.replace(unfinished, path)
    finally:
        Path(unfinished).unlink(missing_ok=True)


def keep_copy(path: Path, name: str) -> None:
    """Copy a checkpoint within its folder, as a hard link where supported."""
    kept, unfinished = path.with_name(name), path.with_name(f"{name}.part")
    unfinished.unlink(missing_ok=True)
    try:
        os.link(path, unfinished)
    except OSError:
        shutil.copyfile(path, unfinished)
    os.replace(unfinished, kept)


def read_entry(path: str, key: str) -> Any:
    """Entry of a checkpoint, or None. Unpickles the file, as nnU-Net does."""
    return torch.load(Path(path), map_location="cpu", weights_only=False).get(key)
