"""Long work in pieces: begin nothing after so many minutes, and go on with the same call later."""

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
    """Give a command the option `--minutes`."""
    parser.add_argument(
        "--minutes",
        type=float,
        default=float("inf"),
        help="begin nothing after so many; the same command goes on",
    )


def in_time(
    pieces: Iterable[T], minutes: float, clock: Callable[[], float] = time.monotonic
) -> Iterator[T]:
    """Pieces of work one after the other, until the time is over; one that was begun is ended.

    Parameters
    ----------
    pieces : iterable
    minutes : float
    clock : callable
        Seconds.
    """
    until = clock() + 60 * minutes
    for piece in pieces:
        if clock() >= until:
            return
        yield piece


def same_as_before(record: Path, **settings: Any) -> None:
    """Keep what decides the results in a folder, and refuse another call for the same folder.

    Parameters
    ----------
    record : Path
        JSON file, written by the first call.
    **settings
        Plain values.

    Raises
    ------
    UserError
        If an earlier call had others: its results would be mixed with ours.
    """
    if not record.exists():
        write_text(record, json.dumps(settings, indent=1) + "\n")
        return
    before = json.loads(record.read_text(encoding="utf-8"))
    found, expected = found_and_expected(differences(restricted(before, settings), settings))
    if found:
        hint = "give the options of before, or another folder with -o"
        raise UserError(record, found, expected, hint)
