"""File of a trained slice classifier."""

from __future__ import annotations

import json
from pathlib import Path

from clisc_nnunet.io.atomic_write import atomic_file
from clisc_nnunet.models.backbones import Backbone
from clisc_nnunet.models.slice_classifier import SliceClassifier
from clisc_nnunet.models.weights import load_strictly, read_state
from clisc_nnunet.pipeline.result_cache import Fingerprint, sign


def save_classifier(path: Path, classifier: SliceClassifier, fingerprint: Fingerprint) -> None:
    """Write the weights as safetensors, atomically, with their fingerprint.

    Raises
    ------
    StorageError
    """
    from safetensors.torch import save

    state = {k: v.detach().cpu().contiguous() for k, v in classifier.state_dict().items()}
    with atomic_file(path) as temporary:
        # Not written by the library, whose errors do not say that a disk is full.
        temporary.write_bytes(save(state, metadata={"recipe": fingerprint.text}))


def load_classifier(path: Path, backbone: Backbone, signature: str) -> SliceClassifier | None:
    """Classifier that `save_classifier` wrote, on the CPU in evaluation mode.

    Parameters
    ----------
    backbone : Backbone
        Backbone from which the classifier was trained.
    signature : str
        Signature of its fingerprint.

    Returns
    -------
    SliceClassifier or None
        None if there is no valid file with this signature.
    """
    kept = kept_fingerprint(path)
    if kept is None or sign(kept) != signature:
        return None
    state = read_state(path)
    classifier = SliceClassifier(backbone, hidden=len(state["head.0.bias"]))
    load_strictly(classifier, state, str(path))
    return classifier.eval()


def kept_fingerprint(path: Path) -> str | None:
    """Text of the fingerprint in a classifier's file; None without a valid file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            return (file.metadata() or {}).get("recipe")
    except (OSError, SafetensorError, json.JSONDecodeError):
        return None
