"""Published models by name: the file each one is, where it is looked for, where it comes from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from clisc_nnunet.errors import WeightsError

BUNDLED_NAME = "bundled"


@dataclass(frozen=True)
class Entry:
    """One published model."""

    name: str
    role: str
    """`clip` or `sam`."""
    file: str
    url: str
    licence: str


# URLs as open_clip's table of pretrained models and segment_anything's README name them.
ENTRIES = {
    entry.name: entry
    for entry in (
        Entry(
            "ViT-B-32",
            "clip",
            "clip_vit_b_32_openai.safetensors",
            "https://huggingface.co/timm/vit_base_patch32_clip_224.openai/resolve/main/"
            "open_clip_model.safetensors",
            "MIT",
        ),
        Entry(
            "sam_vit_b",
            "sam",
            "sam_vit_b_01ec64.pth",
            "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth",
            "Apache-2.0",
        ),
    )
}


def weights_folder() -> Path:
    """Folder of downloaded weights: the variable CLISC_WEIGHTS, or `~/.cache/clisc_nnunet`."""
    return Path(os.environ.get("CLISC_WEIGHTS") or Path.home() / ".cache" / "clisc_nnunet")


def find_file(name: str, role: str) -> Path:
    """File of a model, by the name of an entry or by its own path.

    Raises
    ------
    WeightsError
        If there is no such file; the line says what to fetch and where to put it.
    """
    entry = ENTRIES.get(name)
    if entry is not None and entry.role == role:
        path = weights_folder() / entry.file
        if not path.is_file():
            raise WeightsError(
                path, "no such file", f"the weights of {name}", f"fetch {entry.url} to this place"
            )
        return path
    path = Path(name)
    if not path.is_file():
        known = ", ".join([BUNDLED_NAME, *(e.name for e in ENTRIES.values() if e.role == role)])
        raise WeightsError(
            name,
            f"neither a known {role} nor a file",
            f"one of {known}, or a file",
            "mend the name",
        )
    return path
