"""Differences between two records, such as those of an earlier result and of the present run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Largest number of values in a message.
MAX_SHOWN = 3
_MAX_CHARACTERS = 100


class _NotRecorded:
    """Marks a value that one of the records lacks; None is a regular value."""

    def __repr__(self) -> str:
        return "not recorded"


NOT_RECORDED = _NotRecorded()


@dataclass(frozen=True)
class Difference:
    """A value that differs between two records.

    Parameters
    ----------
    name : str
        Keys from the outermost to the innermost, joined by dots; list items have the name of their
        list.
    before, now
        JSON values, or `NOT_RECORDED`.
    """

    name: str
    before: Any
    now: Any


def differences(before: Any, now: Any) -> list[Difference]:
    """Innermost values that differ between two records.

    Parameters
    ----------
    before, now
        JSON values; tuples count as lists. Objects are compared by key, lists of objects of equal
        length by item, and other lists as a single value.

    Returns
    -------
    list of Difference
        In the order of `now`, followed by values that only `before` has.
    """
    plain = [json.loads(json.dumps(record)) for record in (before, now)]
    return list(_leaves(plain[0], plain[1], ""))


def _leaves(before: Any, now: Any, name: str) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in {**now, **before}:
            inner = f"{name}.{key}" if name else key
            yield from _leaves(before.get(key, NOT_RECORDED), now.get(key, NOT_RECORDED), inner)
    elif _records(before) and _records(now) and len(before) == len(now):
        for first, second in zip(before, now, strict=True):
            yield from _leaves(first, second, name)
    elif before != now:
        yield Difference(name, before, now)


def _records(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict | list) for item in value)


def found_and_expected(found: Sequence[Difference]) -> tuple[str, str]:
    """Both halves of a message, `name value, name value`: before and now; empty without any."""
    shown = found[:MAX_SHOWN]
    more = f" and {len(found) - len(shown)} more" if len(found) > len(shown) else ""
    before = ", ".join(f"{one.name} {in_short(one.before)}" for one in shown)
    now = ", ".join(f"{one.name} {in_short(one.now)}" for one in shown)
    return before + more, now + more


def in_short(value: Any) -> str:
    """A value of a record as JSON; the size for long ones."""
    if value is NOT_RECORDED:
        return str(value)
    text = json.dumps(value)
    if isinstance(value, dict | list) and len(text) > _MAX_CHARACTERS:
        return f"with {len(value)} entries"
    return text


def restricted(record: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a record whose keys are in `names`."""
    return {name: value for name, value in record.items() if name in names}
