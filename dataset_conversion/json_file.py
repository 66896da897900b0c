"""JSON for nnU-Net, never written over something else by accident."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clisc_nnunet.errors import UserError
from clisc_nnunet.store import write_text


def write_json(path: Path, content: dict[str, Any], *, overwrite: bool) -> None:
    """Write JSON whole or not at all.

    Parameters
    ----------
    path : Path
    content : dict
    overwrite : bool
        Replace a file that says something else.

    Raises
    ------
    UserError
        If the file says something else and `overwrite` is not set.
    """
    text = json.dumps(content, indent=2) + "\n"
    if path.exists() and not overwrite and path.read_text(encoding="utf-8") != text:
        raise UserError(
            path,
            "a file with other content",
            "none, or one with the same",
            "use --overwrite, or move it away",
        )
    write_text(path, text)
