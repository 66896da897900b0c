"""Weight files: where they lie, their hashes, and safe reading."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import torch

from clisc_nnunet.errors import WeightsError
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.models.architecture_detection import describe_weights
from clisc_nnunet.models.registry import ENTRIES, Web

# What torch.compile and DistributedDataParallel put before the names of a module's tensors; either
# may be round the other.
_PREFIXES = ("_orig_mod.", "module.", "_orig_mod.")
BUNDLED = Path(__file__).resolve().parent.parent / "bundled" / "weights"


def read_card(name: str) -> dict[str, Any]:
    """Card of a bundled model: architecture, data recipe, figures and hash."""
    path = BUNDLED / f"{name}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise WeightsError(
            path, f"no readable card ({error})", "the bundled model", "install the package again"
        ) from None


def bundled_state(name: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Weights of a bundled model in float32, and its card; the hash must match."""
    card, path = read_card(name), BUNDLED / f"{name}.safetensors"
    if path.is_file() and file_sha256(path) != card["sha256"]:
        raise WeightsError(
            path,
            f"sha256 {file_sha256(path)[:16]}",
            f"{card['sha256'][:16]}, as its card says",
            "install the package again",
        )
    return {key: value.float() for key, value in read_state(path).items()}, card


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """State dict of a .safetensors or PyTorch file; pickled code is never run.

    Raises
    ------
    WeightsError
        If the file is absent, truncated, or holds anything but tensors.
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
    except Exception as error:  # the libraries raise a dozen kinds for a broken file
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise WeightsError(
            path,
            f"a file that cannot be read as weights ({reason})",
            "tensors only, .safetensors or a PyTorch state dict",
            "download or copy it again",
        ) from None
    for wrapper in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(torch.is_tensor(v) for v in state.values()):
        raise WeightsError(
            path, "a file without a state dict", "tensors by name", "name another file"
        )
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def load_strictly(
    module: torch.nn.Module, state: dict[str, torch.Tensor], where: str, *, assign: bool = False
) -> None:
    """Put weights into a module; a `WeightsError` if names or shapes differ.

    Parameters
    ----------
    module : Module
    state : dict of Tensor
    where : str
        For the error.
    assign : bool
        Take the tensors themselves, for a module that was built without any (device `meta`).
    """
    own = module.state_dict()
    # Older versions of transformers kept the positions 0, 1, 2, ... among the weights.
    state = {k: v for k, v in state.items() if k in own or not k.endswith(".position_ids")}
    missing, foreign = own.keys() - state.keys(), state.keys() - own.keys()
    misfits = [k for k in own.keys() & state.keys() if own[k].shape != state[k].shape]
    if missing or foreign or misfits:
        raise WeightsError(
            where,
            f"what looks like {describe_weights(state)} ({len(missing)} tensors missing, "
            f"{len(foreign)} unknown, {len(misfits)} misshapen)",
            f"the weights of {type(module).__name__} with {len(own)} tensors",
            "name weights of this architecture",
        )
    module.load_state_dict(state, assign=assign)


def _is_archive(path: Path) -> bool:
    """Whether a file is a TorchScript archive, which holds code beside weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(Path(name).name == "constants.pkl" for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _archived_state(path: Path) -> dict[str, torch.Tensor]:
    """State dict of one of OpenAI's archives.

    Its code is run when it is opened, so that the hash must be a published one first.
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
            "tensors only; of archives, whose code would run, those that OpenAI has published",
            "name weights as .safetensors or as a PyTorch state dict",
        )
    state = torch.jit.load(str(path), map_location="cpu").state_dict()
    numbers = ("input_resolution", "context_length", "vocab_size")
    return {key: value.float() for key, value in state.items() if key not in numbers}
