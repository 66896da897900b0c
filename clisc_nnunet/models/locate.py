"""Resolve the argument of `--clip`, `--sam` or `--classifier` to a weight file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import open_clip

from clisc_nnunet.errors import WeightsError
from clisc_nnunet.models.download import fetch
from clisc_nnunet.models.registry import (
    ENTRIES,
    Digest,
    Entry,
    Hub,
    Role,
    Web,
    entry_of_file,
    names_of,
)


@dataclass(frozen=True)
class Located:
    """Weights on this machine.

    Parameters
    ----------
    path : Path
        A file, or an open_clip folder.
    entry : Entry or None
        Registry entry that describes them; None for a user's own file.
    name : str
        Argument of `locate` that resolves to the same weights.
    """

    path: Path
    entry: Entry | None
    name: str


def locate(name: str, role: Role) -> Located:
    """Find weights by name or path; those of a registry entry are downloaded if necessary.

    Parameters
    ----------
    name : str
        Name of an entry; a path; `NAME=PATH`, a file with the architecture and normalisation of
        entry NAME; for CLIP also `ARCHITECTURE/TAG` of open_clip's pretrained models.
    role : {'clip', 'sam', 'classifier'}

    Raises
    ------
    WeightsError
        If there are none, or they cannot be downloaded.
    """
    entry = find_entry(name, role)
    if entry is not None:
        return Located(fetch(entry), entry, entry.name)
    entry, path = split_entry_and_path(name, role)
    if not path.exists():
        tags = _tags(name) if role == "clip" else []
        if tags:
            expected = f"one of {', '.join(tags)}, the tags of this architecture in open_clip"
            raise WeightsError(name, "an unknown tag", expected, "correct the name")
        raise WeightsError(
            path if entry is not None else name,
            "no such file" if entry is not None else f"neither a known {role} nor a file",
            f"one of {', '.join(names_of(role))}, or a file",
            "correct the name",
        )
    # Links are not resolved: in the hub's cache only the links carry the file names.
    path = Path(os.path.abspath(path))
    if entry is None:
        entry = entry_of_file(path, role)
        return Located(path, entry, str(path))
    return Located(path, entry, f"{entry.name}={path}")


def split_entry_and_path(name: str, role: Role) -> tuple[Entry | None, Path]:
    """Split `NAME=PATH` into the entry and the path; any other text is a path without an entry."""
    like, equals, rest = name.partition("=")
    entry = find_entry(like, role) if equals else None
    return entry, Path(rest if entry is not None else name).expanduser()


def find_entry(name: str, role: Role | None = None) -> Entry | None:
    """Entry by name, from the registry or from open_clip's table; None if there is none."""
    entry = ENTRIES.get(name)
    if entry is None and role in (None, "clip"):
        entry = _of_open_clip(name)
    return entry if entry is not None and role in (None, entry.role) else None


def _tags(name: str) -> list[str]:
    """Tags that open_clip knows for the architecture of `ARCHITECTURE/TAG`."""
    return open_clip.list_pretrained_tags_by_model(name.partition("/")[0]) if "/" in name else []


def _of_open_clip(name: str) -> Entry | None:
    """Entry of `ARCHITECTURE/TAG`, such as `ViT-B-32/laion2b_s34b_b79k`."""
    architecture, slash, tag = name.partition("/")
    if not slash or not open_clip.pretrained.is_pretrained_cfg(architecture, tag):
        return None
    known = open_clip.get_pretrained_cfg(architecture, tag)
    config = open_clip.get_model_config(architecture)
    repo, _, file = known["hf_hub"].rpartition("/")
    source: Hub | Web
    digest = None
    if repo:
        # Like open_clip, prefer safetensors; its table pins no revision.
        source = Hub(repo, "main", file or "open_clip_model.safetensors")
    else:
        source = Web(known["url"])
        # In open_clip's own releases, the digits after the last dash are the start of the hash.
        begins = Path(source.url).stem.rpartition("-")[2]
        if "mlfoundations" in source.url and len(begins) == 8:
            digest = Digest("sha256", begins, "the file name in open_clip's releases")
    ending = Path(source.file if isinstance(source, Hub) else source.url).suffix
    size = config["vision_cfg"].get("image_size", 224)
    return Entry(
        name,
        "clip",
        f"{architecture} of open_clip, {tag}",
        architecture,
        size if isinstance(size, int) else size[0],
        tuple(known["mean"]),
        tuple(known["std"]),
        f"{architecture}_{tag}{ending}",
        source,
        0,
        digest,
        "see its model page",
        "Ilharco et al., OpenCLIP, doi:10.5281/zenodo.5143773",
        quick_gelu=bool(known.get("quick_gelu", False)),
    )
