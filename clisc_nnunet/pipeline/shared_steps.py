"""Steps that look at all cases at once: the file of the CAM's choice."""

from __future__ import annotations

import json
from pathlib import Path

from clisc_nnunet.errors import UserError
from clisc_nnunet.io.atomic_write import write_text
from clisc_nnunet.stages.cam_selection import Trial


def write_choice(path: Path, signature: str, chosen: Trial) -> None:
    """Keep the choice for processes that see a share of the cases only."""
    content = {"signature": signature, "layer": chosen.layer, "threshold": chosen.threshold}
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_choice(path: Path, signature: str) -> tuple[str, float] | None:
    """Layer and threshold that were chosen; None if there is no choice of this signature."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        same = content["signature"] == signature
        return (content["layer"], content["threshold"]) if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def not_learnt_yet(path: Path, found: str, name: str) -> UserError:
    """The line for a share of the cases that comes before what is learnt from all of them."""
    stage = "classifier" if name == "raw" else "enhanced"
    return UserError(
        path,
        found,
        "what was learnt from all cases, with the same settings and weights",
        f"run --stage {stage} first, without -num_parts",
    )
