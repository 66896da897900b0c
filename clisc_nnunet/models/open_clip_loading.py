"""CLIP architectures of open_clip: by name, or from a folder with `open_clip_config.json`."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import open_clip
import torch

from clisc_nnunet.errors import UserError, WeightsError
from clisc_nnunet.models.architecture_detection import (
    describe_weights,
    detect_clip_architecture,
)
from clisc_nnunet.models.locate import Located
from clisc_nnunet.models.registry import ENTRIES, OPENAI_MEAN, OPENAI_STD, Channels
from clisc_nnunet.models.weights import load_strictly, read_state

CONFIG = "open_clip_config.json"
_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
# Text towers of transformers whose configuration is that of a plain BERT-base.
_BERT_BASE = (
    "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
    "microsoft/BiomedNLP-PubMedBERT-base-uncased-abstract",
)


@dataclass(frozen=True)
class PublishedClip:
    """A CLIP of open_clip with its weights, its tokenizer and its preprocessing.

    `taken_as` tells how the weights were read, if otherwise than a bare file of their shapes.
    """

    module: Any
    tokenize: Callable[[Sequence[str]], torch.Tensor]
    mean: Channels
    std: Channels
    weights: Path
    taken_as: str = ""


def load_published(found: Located) -> PublishedClip:
    """Build a CLIP and load its weights.

    Raises
    ------
    WeightsError
        If the weights are of another architecture than their entry, or of an unknown one.
    UserError
        If the text tower needs transformers, and it is not installed.
    """
    path, entry = found.path, found.entry
    if path.is_dir():
        return _from_folder(path, _weights_in(path))
    # A configuration beside the weights says more than their shapes.
    if (entry is None or not entry.architecture) and (path.parent / CONFIG).is_file():
        return _from_folder(path.parent, path)
    state = read_state(path)
    if entry is not None and not entry.architecture:
        raise WeightsError(
            path,
            f"what looks like {describe_weights(state)}, and no {CONFIG} beside it",
            f"{entry.name} with its configuration",
            f"fetch {CONFIG} and the tokenizer's files of {entry.name} into the same folder",
        )
    architecture = entry.architecture if entry is not None else detect_clip_architecture(state)
    detected = detect_clip_architecture(state)
    if architecture is None or (detected is not None and entry and _differ(entry, detected)):
        known = ", ".join(sorted({e.architecture for e in ENTRIES.values() if e.role == "clip"}))
        raise WeightsError(
            path,
            f"what looks like {describe_weights(state)}",
            f"a CLIP {entry.name}" if entry else f"a CLIP of open_clip: {known.strip(', ')}",
            "name another file, or say what it is: ARCHITECTURE/TAG=FILE, or a folder of open_clip",
        )
    if any(key.startswith("hf_") for key in open_clip.get_model_config(architecture)["text_cfg"]):
        raise WeightsError(
            path,
            f"{architecture}, whose text tower or tokenizer is of transformers",
            f"a folder with {CONFIG}, config.json and the tokenizer's files",
            "fetch the whole folder and name it",
        )
    # A bare file of OpenAI's shapes is taken for OpenAI's, whose GELU is the quick one.
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
    return PublishedClip(module, tokenize, mean, std, path, taken_as)


def _differ(entry: Any, detected: str) -> bool:
    """Whether an entry of OpenAI's shapes holds weights of others of these."""
    return entry.architecture in ("ViT-B-32", "ViT-B-16", "ViT-L-14") and (
        detected != entry.architecture
    )


def _weights_in(folder: Path) -> Path:
    weights = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise WeightsError(
            folder, "no weights", " or ".join(_WEIGHTS), "fetch one of them into this folder"
        )
    return weights


def _from_folder(folder: Path, weights: Path) -> PublishedClip:
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        text = dict(config["model_cfg"]["text_cfg"])
        preprocessing = config.get("preprocess_cfg", {})
        mean, std = preprocessing.get("mean", OPENAI_MEAN), preprocessing.get("std", OPENAI_STD)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            folder / CONFIG,
            f"no configuration ({type(error).__name__}: {error})",
            "a folder of open_clip, with model_cfg and preprocess_cfg",
            "fetch the whole folder, or name a weight file",
        ) from None
    name = f"local-dir:{folder}"
    tower = text.get("hf_model_name")
    if tower or text.get("hf_tokenizer_name"):
        _require_transformers(folder)
    with tempfile.TemporaryDirectory() as scratch:
        changes = {}
        if tower:
            # open_clip would ask the hub for the tower's configuration, even offline.
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
    # The same weights under another configuration are another model.
    digest = sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    taken_as = json.dumps({"configuration": digest})
    return PublishedClip(module, tokenize, tuple(mean), tuple(std), weights, taken_as)


@contextmanager
def _no_warning_of_random_weights() -> Iterator[None]:
    """open_clip warns of them, but ours are loaded a line later."""
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
    """Folder with the configuration of a text tower: the model's own, or a BERT-base's."""
    own = folder / "config.json"
    if own.is_file():
        return folder
    if tower not in _BERT_BASE:
        raise WeightsError(
            folder,
            f"no config.json for the text tower {tower}",
            "its configuration, as transformers writes it",
            f"fetch config.json of {tower} into this folder",
        )
    (scratch / "config.json").write_text(json.dumps({"model_type": "bert"}), encoding="utf-8")
    return scratch
