"""What differs between the record of something that is there and that of what is wanted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any


def differences(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[str, str]:
    """Values that differ, for the parts of a message: those there, and those wanted.

    Parameters
    ----------
    there, wanted : mapping
        Values that JSON can hold, by name; tuples equal lists.

    Returns
    -------
    there, wanted : str
        As `name value, name value`; both empty if nothing differs.
    """
    there, wanted = (json.loads(json.dumps(record)) for record in (there, wanted))
    names = [
        name for name in {**wanted, **there} if there.get(name, _NONE) != wanted.get(name, _NONE)
    ]
    told = [
        ", ".join(f"{name} {_in_short(record.get(name, _NONE))}" for name in names)
        for record in (there, wanted)
    ]
    return told[0], told[1]


_NONE = object()


def _in_short(value: Any) -> str:
    if value is _NONE:
        return "not noted"
    text = json.dumps(value)
    if isinstance(value, dict) and len(text) > 60:
        # Hashes of thirty files would hide the rest.
        return f"of {len(value)} files ({sha256(text.encode()).hexdigest()[:8]})"
    return text
