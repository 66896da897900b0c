"""Device and numeric precision of torch computations."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from clisc_nnunet.errors import UserError

# NVIDIA GPUs from Ampere on compute bf16 as fast as fp16, without loss scaling.
_AMPERE = (8, 0)
_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def chosen_device(name: str | None) -> torch.device:
    """Device by name; by default the GPU if there is one.

    Raises
    ------
    UserError
        If torch cannot use the device on this machine.
    """
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name is None:
        name = "cuda" if available["cuda"] else "cpu"
    if not available[name]:
        raise UserError(
            "-device",
            f"{name}, which torch cannot use here",
            "a device of this computer",
            "use -device cpu",
        )
    return torch.device(name)


def at_precision(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Autocast context for a precision; weights and accumulations keep their own dtype."""
    chosen = chosen_precision(precision, device)
    if chosen == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_TYPES[chosen])


def chosen_precision(precision: str, device: torch.device) -> str:
    """`fp32`, `bf16` or `fp16`; `auto` is bf16 on GPUs from Ampere on, fp32 elsewhere."""
    if precision != "auto":
        return precision
    fast = device.type == "cuda" and torch.cuda.get_device_capability(device) >= _AMPERE
    return "bf16" if fast else "fp32"


def cpu_is_fast_at_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AVX-512 BF16 or AMX)."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in checks)
