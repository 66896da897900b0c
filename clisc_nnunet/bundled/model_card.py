"""Export a trained model: fp16 safetensors, and a model card with its provenance."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from clisc_nnunet.io.hashing import file_sha256

CREDITS = (
    "BrainWeb anatomical models, McConnell Brain Imaging Centre, McGill University "
    "(brainweb.bic.mni.mcgill.ca; Aubert-Broche et al., NeuroImage 32, 2006)",
    "SynthSeg training label maps (github.com/BBillot/SynthSeg, Apache-2.0; Billot et al., "
    "Medical Image Analysis 86, 2023)",
    "MNI152 templates as nilearn ships them (International Consortium for Brain Mapping)",
)
"""Sources of the anatomies of the phantoms."""

LIMITS = {
    "clip": "knows axial FLAIR slices of brains on black, 128 x 128 at 1.5 mm, and the words of "
    "its captions; other bright lesions may pass for tumours, small or faint tumours be missed",
    "sam": "knows FLAIR slices of brains on black, 128 x 128 at 1.5 mm or closer, and one kind of "
    "object: a tumour that is brighter than brain; boxes are needed, points alone are not enough; "
    "white-matter lesions and bright caps of the ventricles may be drawn",
    "classifier": "a start for training on the scans at hand, not a classifier by itself; knows "
    "axial FLAIR slices of brains on black, 128 x 128 at 1.5 mm",
    "network": "has seen phantoms alone, stripped of skull and scalp, at 3 mm; knows FLAIR and one "
    "kind of object, a tumour that is brighter than brain",
    "brain": "has seen heads of phantoms alone; adult brains in FLAIR, whole or with a field of "
    "view that ends early",
}
"""Limitations of each model, for its card."""


@dataclass(frozen=True)
class Provenance:
    """Description of a training for the model card."""

    command: str
    seed: int
    data: dict[str, Any]
    training: dict[str, Any]
    curve: list[dict[str, float]]
    history: list[dict[str, Any]] = field(default_factory=list)
    """Earlier trainings from whose weights this one started, oldest first."""


def export_model(
    name: str,
    module: torch.nn.Module,
    architecture: dict[str, Any],
    provenance: Provenance,
    metrics: Mapping[str, Any],
    folder: Path,
) -> Path:
    """Write `name.safetensors` and the card `name.json`; returns the path of the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    state = {k: v.detach().cpu().half().contiguous() for k, v in module.state_dict().items()}
    if name == "network":
        # nnU-Net's U-Net lists its modules under several names.
        state = {k: state[k] for k, _ in module.named_parameters()}
    save_file(state, str(path), metadata={"model": name})
    card = {
        "name": name,
        "parameters": sum(p.numel() for p in module.parameters()),
        "architecture": architecture,
        "sha256": file_sha256(path),
        "trained_on": "synthetic phantoms alone; no image of a patient",
        "limits": LIMITS[name],
        "licence": "Apache-2.0",
        "credits": CREDITS,
        "data": provenance.data,
        "training": provenance.training,
        "seed": provenance.seed,
        "command": provenance.command,
        "versions": {
            k: version(k)
            for k in ("clisc_nnunet", "torch", "open_clip_torch", "segment_anything", "timm")
        },
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, CPU",
        "figures_on_phantoms": metrics,
        "curve": provenance.curve,
        **({"history": provenance.history} if provenance.history else {}),
    }
    (folder / f"{name}.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    return path
