"""JSON files that dcm2niix writes beside its images: what the sequence is."""

from __future__ import annotations

import json
from pathlib import Path

from clisc_nnunet.inputs.file_names import stem


def sidecar_descriptions(path: Path) -> tuple[str, ...]:
    """Descriptions of a scan's sequence in the JSON file beside it, the more specific one first."""
    content = _content(path)
    names = (content.get("SeriesDescription"), content.get("ProtocolName"))
    return tuple(str(name) for name in names if name)


def sidecar_variant(path: Path) -> str:
    """Words that tell several scans of one modality apart, from the JSON file beside a scan."""
    content = _content(path)
    words = [str(content.get("SeriesDescription", ""))]
    kind = content.get("ImageType")
    if isinstance(kind, list) and "DERIVED" in kind:
        words.append("reformat")
    if content.get("ContrastBolusAgent"):
        words.append("gd")
    if content.get("MRAcquisitionType") in ("2D", "3D"):
        words.append(str(content["MRAcquisitionType"]))
    return " ".join(words)


def _content(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.with_name(f"{stem(path)}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
