"""From what a user writes after `--clip`, `--sam` or `--classifier` to a file and its entry."""

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
        A file, or a folder of open_clip.
    entry : Entry or None
        What is known of them; None for a user's own file.
    name : str
        What finds them again.
    """

    path: Path
    entry: Entry | None
    name: str


def locate(name: str, role: Role) -> Located:
    """Find weights, and download them where they are an entry's and not here yet.

    Parameters
    ----------
    name : str
        Name of an entry; a path; `NAME=PATH`, a file that is like the entry NAME; for CLIP also
        `ARCHITECTURE/TAG`, one of open_clip's table of pretrained models.
    role : str

    Raises
    ------
    WeightsError
    """
    entry = find_entry(name, role)
    if entry is not None:
        return Located(fetch(entry), entry, entry.name)
    entry, path = split_entry_and_path(name, role)
    if not path.exists():
        tags = _tags(name) if role == "clip" else []
        if tags:
            expected = f"one of {', '.join(tags)}, which open_clip has for this architecture"
            raise WeightsError(name, "no tag of this name", expected, "mend the name")
        raise WeightsError(
            path if entry is not None else name,
            "no such file" if entry is not None else f"neither a known {role} nor a file",
            f"one of {', '.join(names_of(role))}, or a file",
            "mend the name",
        )
    # Links stay: in the hub's cache they have the names, and the files behind them have none.
    path = Path(os.path.abspath(path))
    if entry is None:
        entry = entry_of_file(path, role)
        return Located(path, entry, str(path))
    return Located(path, entry, f"{entry.name}={path}")


def split_entry_and_path(name: str, role: Role) -> tuple[Entry | None, Path]:
    """Of `NAME=PATH` the entry and the path; of any other text no entry, and itself as a path."""
    like, equals, rest = name.partition("=")
    entry = find_entry(like, role) if equals else None
    return entry, Path(rest if entry is not None else name).expanduser()


def find_entry(name: str, role: Role | None = None) -> Entry | None:
    """Entry by name, of the registry or of open_clip's table; None if there is none."""
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
        # open_clip looks for safetensors first, too; no revision is pinned in its table.
        source = Hub(repo, "main", file or "open_clip_model.safetensors")
    else:
        source = Web(known["url"])
        # open_clip checks the digits after the last dash of its own releases.
        begins = Path(source.url).stem.rpartition("-")[2]
        if "mlfoundations" in source.url and len(begins) == 8:
            digest = Digest("sha256", begins, "the file's name in open_clip's releases")
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
        "as its page says",
        "Ilharco et al., OpenCLIP, doi:10.5281/zenodo.5143773",
        quick_gelu=bool(known.get("quick_gelu", False)),
    )
