"""Read weight files without running pickled code, and load them into modules."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from clisc_nnunet.errors import WeightsError
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.models.architecture_detection import describe_weights
from clisc_nnunet.models.registry import ENTRIES, Web

# Prefixes added by torch.compile and DistributedDataParallel, in any nesting order.
_PREFIXES = ("_orig_mod.", "module.", "_orig_mod.")
BUNDLED = Path(__file__).resolve().parent.parent / "bundled" / "weights"


def read_card(name: str) -> dict[str, Any]:
    """Model card of a bundled model: architecture, training data, metrics and hash."""
    path = BUNDLED / f"{name}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise WeightsError(
            path,
            f"an unreadable model card ({error})",
            "the card of a bundled model",
            "reinstall the package",
        ) from None


def bundled_state(name: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Weights of a bundled model as float32, and its model card.

    Raises
    ------
    WeightsError
        If a file is missing or corrupt.
    """
    card, path = read_card(name), BUNDLED / f"{name}.safetensors"
    if path.is_file() and file_sha256(path) != card["sha256"]:
        raise WeightsError(
            path,
            f"sha256 {file_sha256(path)[:16]}",
            f"{card['sha256'][:16]}, as in its model card",
            "reinstall the package",
        )
    return {key: value.float() for key, value in read_state(path).items()}, card


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """State dict of a .safetensors or PyTorch file; pickled code is not executed.

    Raises
    ------
    WeightsError
        If the file is missing, truncated, or contains anything but tensors.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise WeightsError(path, found, "a weight file", "check the path")
    if _is_archive(path):
        return _archived_state(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(str(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the libraries raise many classes for a corrupt file
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise WeightsError(
            path,
            f"an unreadable weight file ({reason})",
            "a .safetensors file or a PyTorch state dict",
            "download or copy it again",
        ) from None
    for wrapper in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(torch.is_tensor(v) for v in state.values()):
        raise WeightsError(
            path, "a file without a state dict", "tensors by name", "give another file"
        )
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def load_strictly(
    module: torch.nn.Module, state: dict[str, torch.Tensor], where: str, *, assign: bool = False
) -> None:
    """Load weights into a module; all names and shapes must match.

    Parameters
    ----------
    module : Module
    state : dict of Tensor
    where : str
        Origin of the weights, for the error message.
    assign : bool
        Use the given tensors instead of copying them; for modules built on the device `meta`.

    Raises
    ------
    WeightsError
        If names or shapes differ.
    """
    own = module.state_dict()
    # Older versions of transformers stored the positions 0, 1, 2, ... with the weights.
    state = {k: v for k, v in state.items() if k in own or not k.endswith(".position_ids")}
    missing, unknown = own.keys() - state.keys(), state.keys() - own.keys()
    mismatched = [k for k in own.keys() & state.keys() if own[k].shape != state[k].shape]
    if missing or unknown or mismatched:
        raise WeightsError(
            where,
            f"weights of {describe_weights(state)} ({len(missing)} tensors missing, "
            f"{len(unknown)} unknown, {len(mismatched)} of another shape)",
            f"the weights of {type(module).__name__} with {len(own)} tensors",
            "give weights of this architecture",
        )
    module.load_state_dict(state, assign=assign)


def load_into(network: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Copy weights into a network, which may be wrapped (DDP) or compiled.

    Parameters
    ----------
    network : Module
    state : mapping of Tensor
        A value for each parameter. nnU-Net's networks list some modules under several names; one
        name of each is enough.

    Raises
    ------
    RuntimeError
        If parameters are missing or shapes differ.
    """
    inner = getattr(network, "module", network)
    inner = getattr(inner, "_orig_mod", inner)
    missing = dict(inner.named_parameters()).keys() - state.keys()
    if missing:
        raise RuntimeError(f"no weights for {sorted(missing)[0]} and {len(missing) - 1} more")
    inner.load_state_dict(dict(state), strict=False)


def _is_archive(path: Path) -> bool:
    """Whether a file is a TorchScript archive, which contains code as well as weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(Path(name).name == "constants.pkl" for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _archived_state(path: Path) -> dict[str, torch.Tensor]:
    """State dict of one of OpenAI's TorchScript archives.

    Opening an archive executes its code, so only archives with a published hash are accepted.
    """
    known = {
        entry.digest.begins
        for entry in ENTRIES.values()
        if entry.digest is not None and isinstance(entry.source, Web) and entry.file.endswith(".pt")
    }
    digest = file_sha256(path)
    if digest not in known:
        raise WeightsError(
            path,
            f"a TorchScript archive of unknown origin (sha256 {digest[:16]}...)",
            "one of the archives published by OpenAI, as opening an archive executes its code",
            "give the weights as .safetensors or as a PyTorch state dict",
        )
    state = torch.jit.load(str(path), map_location="cpu").state_dict()
    numbers = ("input_resolution", "context_length", "vocab_size")
    return {key: value.float() for key, value in state.items() if key not in numbers}
