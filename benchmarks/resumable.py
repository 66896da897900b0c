"""Resumable runs: a time limit for starting tasks, and a check that options are unchanged."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from clisc_nnunet.errors import UserError
from clisc_nnunet.io.atomic_write import write_text
from clisc_nnunet.provenance import differences, found_and_expected, restricted

T = TypeVar("T")


def add_minutes(parser: argparse.ArgumentParser) -> None:
    """Add the option `--minutes`."""
    parser.add_argument(
        "--minutes",
        type=float,
        default=float("inf"),
        help="start no further task after this time; run again to continue",
    )


def until_deadline(
    tasks: Iterable[T], minutes: float, clock: Callable[[], float] = time.monotonic
) -> Iterator[T]:
    """Yield tasks until the time limit; a started task is never interrupted.

    Parameters
    ----------
    tasks : iterable
    minutes : float
    clock : callable
        Returns seconds.
    """
    until = clock() + 60 * minutes
    for task in tasks:
        if clock() >= until:
            return
        yield task


def check_same_settings(record: Path, **settings: Any) -> None:
    """Record the settings of a run in its folder, and raise if a later call has other settings.

    Parameters
    ----------
    record : Path
        JSON file, written by the first call.
    **settings
        JSON types.

    Raises
    ------
    UserError
        If an earlier call had other settings, since results would be mixed.
    """
    if not record.exists():
        write_text(record, json.dumps(settings, indent=1) + "\n")
        return
    before = json.loads(record.read_text(encoding="utf-8"))
    found, expected = found_and_expected(differences(restricted(before, settings), settings))
    if found:
        hint = "use the same options, or another folder with -o"
        raise UserError(record, found, expected, hint)
