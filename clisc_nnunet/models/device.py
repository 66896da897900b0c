"""The device that torch computes on, and half precision where it is quick at it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from clisc_nnunet.errors import UserError

# Since Ampere, GPUs of NVIDIA compute bf16 as quickly as fp16 and need no scaling for it.
_AMPERE = (8, 0)
_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def chosen_precision(precision: str, device: torch.device) -> str:
    """`fp32`, `bf16` or `fp16`; `auto` takes bf16 on GPUs since Ampere, fp32 elsewhere."""
    if precision != "auto":
        return precision
    quick = device.type == "cuda" and torch.cuda.get_device_capability(device) >= _AMPERE
    return "bf16" if quick else "fp32"


def at_precision(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Context in which torch multiplies in this precision; weights and sums stay as they are."""
    chosen = chosen_precision(precision, device)
    if chosen == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_TYPES[chosen])


def chosen_device(name: str | None) -> torch.device:
    """Device by name; by default a GPU if there is one."""
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name is None:
        name = "cuda" if there["cuda"] else "cpu"
    if not there[name]:
        raise UserError(
            "-device",
            f"{name}, which torch does not see here",
            "a device of this computer",
            "take -device cpu",
        )
    return torch.device(name)
