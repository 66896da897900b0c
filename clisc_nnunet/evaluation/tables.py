"""Tables as text: Markdown for the screen, CSV and JSON for files."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def markdown(rows: Sequence[Row]) -> str:
    """Markdown table; at least one row, all with the same keys."""
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines += [[shown(key, value) for key, value in row.items()] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def to_csv(rows: Sequence[Row]) -> str:
    """CSV table; at least one row, all with the same keys. NaN becomes an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if is_nan(v) else v for k, v in row.items()} for row in rows)
    return text.getvalue()


def to_json(content: Any) -> str:
    """Indented JSON; NaN, which JSON does not support, becomes null."""
    return json.dumps(_without_nan(content), indent=1) + "\n"


def shown(key: str, value: Any) -> str:
    """Format a value: 1 decimal for ml and percent, 2 for mm, 3 otherwise."""
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value):
        return "nan"
    if key.endswith((" ml", "_ml", "_percent")):
        return f"{value:.1f}"
    return f"{value:.2f}" if key.endswith("_mm") else f"{value:.3f}"


def is_nan(value: Any) -> bool:
    """Whether a value is a float NaN."""
    return isinstance(value, float) and math.isnan(value)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(v) for v in value]
    return None if is_nan(value) else value
