"""Load a CLIP of open_clip, from a weight file or from a folder with `open_clip_config.json`."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import open_clip

from clisc_nnunet.errors import UserError, WeightsError
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.models.architecture_detection import (
    describe_weights,
    detect_clip_architecture,
)
from clisc_nnunet.models.clip_model import ClipModel
from clisc_nnunet.models.locate import Located
from clisc_nnunet.models.registry import ENTRIES, OPENAI_MEAN, OPENAI_STD, Entry
from clisc_nnunet.models.weights import load_strictly, read_state

CONFIG = "open_clip_config.json"
_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
# Text towers of transformers that have the configuration of a plain BERT-base.
_BERT_BASE = (
    "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
    "microsoft/BiomedNLP-PubMedBERT-base-uncased-abstract",
)


def load_open_clip(found: Located) -> ClipModel:
    """Build a CLIP of open_clip and load its weights, on the CPU.

    Raises
    ------
    WeightsError
        If the architecture is unknown or differs from that of the registry entry.
    UserError
        If the text tower needs transformers, which is not installed.
    """
    path, entry = found.path, found.entry
    if path.is_dir():
        return _from_folder(found, path, _weights_in(path))
    # A configuration next to the weights is more specific than their shapes.
    if (entry is None or not entry.architecture) and (path.parent / CONFIG).is_file():
        return _from_folder(found, path.parent, path)
    return _from_file(found)


def _from_file(found: Located) -> ClipModel:
    """CLIP from a weight file; the architecture is the entry's or detected from the shapes."""
    path, entry = found.path, found.entry
    state = read_state(path)
    if entry is not None and not entry.architecture:
        raise WeightsError(
            path,
            f"weights of {describe_weights(state)}, and no {CONFIG} next to them",
            f"{entry.name} with its configuration",
            f"download {CONFIG} and the tokenizer files of {entry.name} into the same folder",
        )
    detected = detect_clip_architecture(state)
    architecture = entry.architecture if entry is not None else detected
    if architecture is None or (detected is not None and entry and _differ(entry, detected)):
        known = ", ".join(sorted({e.architecture for e in ENTRIES.values() if e.role == "clip"}))
        raise WeightsError(
            path,
            f"weights of {describe_weights(state)}",
            f"a CLIP {entry.name}" if entry else f"a CLIP of open_clip: {known.strip(', ')}",
            "give another file, its architecture (ARCHITECTURE/TAG=FILE), or an open_clip folder",
        )
    if any(key.startswith("hf_") for key in open_clip.get_model_config(architecture)["text_cfg"]):
        raise WeightsError(
            path,
            f"{architecture}, which takes its text tower or tokenizer from transformers",
            f"a folder with {CONFIG}, config.json and the tokenizer files",
            "download the complete folder and give its path",
        )
    # Files with the shapes of OpenAI's models are assumed to use QuickGELU, as OpenAI's do.
    quick_gelu = entry.quick_gelu if entry is not None else True
    with _no_warning_of_random_weights():
        module = open_clip.create_model(
            architecture, pretrained=None, force_quick_gelu=quick_gelu, pretrained_text=False
        )
    load_strictly(module, state, str(path))
    mean, std = (entry.mean, entry.std) if entry is not None else (OPENAI_MEAN, OPENAI_STD)
    taken_as = ""
    if (architecture, quick_gelu, mean, std) != (detected, True, OPENAI_MEAN, OPENAI_STD):
        read = {"architecture": architecture, "quick_gelu": quick_gelu, "mean": mean, "std": std}
        taken_as = json.dumps(read)
    tokenize = open_clip.get_tokenizer(architecture)
    size = _side(module)
    return ClipModel(module, tokenize, size, mean, std, found.name, file_sha256(path), taken_as)


def _from_folder(found: Located, folder: Path, weights: Path) -> ClipModel:
    """CLIP with the configuration of an open_clip folder."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        text = dict(config["model_cfg"]["text_cfg"])
        preprocessing = config.get("preprocess_cfg", {})
        mean, std = preprocessing.get("mean", OPENAI_MEAN), preprocessing.get("std", OPENAI_STD)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            folder / CONFIG,
            f"no valid configuration ({type(error).__name__}: {error})",
            "an open_clip configuration with model_cfg and preprocess_cfg",
            "download the complete folder, or give a weight file",
        ) from None
    name = f"local-dir:{folder}"
    tower = text.get("hf_model_name")
    if tower or text.get("hf_tokenizer_name"):
        _require_transformers(folder)
    with tempfile.TemporaryDirectory() as scratch:
        changes = {}
        if tower:
            # open_clip would request the tower's configuration from the hub, even offline.
            text_folder = _tower_configuration(folder, tower, Path(scratch))
            changes["text_cfg"] = {
                **text, "hf_model_name": str(text_folder), "hf_model_pretrained": False,
            }  # fmt: skip
        with _no_warning_of_random_weights():
            module = open_clip.create_model(
                name, load_weights=False, pretrained_text=False, **changes
            )
    load_strictly(module, read_state(weights), str(weights))
    tokenize = open_clip.get_tokenizer(name)
    # The same weights with another configuration are another model.
    digest = sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    taken_as = json.dumps({"configuration": digest})
    return ClipModel(
        module,
        tokenize,
        _side(module),
        tuple(mean),
        tuple(std),
        found.name,
        file_sha256(weights),
        taken_as,
    )


def _differ(entry: Entry, detected: str) -> bool:
    """Whether weights have the shapes of another of OpenAI's models than the entry's."""
    return entry.architecture in ("ViT-B-32", "ViT-B-16", "ViT-L-14") and (
        detected != entry.architecture
    )


def _side(module: Any) -> int:
    """Side of a CLIP's square input in pixels."""
    size = module.visual.image_size
    return size if isinstance(size, int) else size[0]


def _weights_in(folder: Path) -> Path:
    weights = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise WeightsError(
            folder, "no weights", " or ".join(_WEIGHTS), "download one of them into this folder"
        )
    return weights


@contextmanager
def _no_warning_of_random_weights() -> Iterator[None]:
    """Suppress open_clip's warning about random weights; the caller loads weights right after."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _require_transformers(folder: Path) -> None:
    if find_spec("transformers") is None:
        raise UserError(
            folder,
            "a text tower of transformers, which is not installed",
            "the package transformers",
            "pip install 'clisc_nnunet[biomedclip]'",
        )


def _tower_configuration(folder: Path, tower: str, scratch: Path) -> Path:
    """Folder with the text tower's config.json: the model's own, or a BERT-base one in scratch."""
    own = folder / "config.json"
    if own.is_file():
        return folder
    if tower not in _BERT_BASE:
        raise WeightsError(
            folder,
            f"no config.json for the text tower {tower}",
            "its configuration in the format of transformers",
            f"download config.json of {tower} into this folder",
        )
    (scratch / "config.json").write_text(json.dumps({"model_type": "bert"}), encoding="utf-8")
    return scratch
