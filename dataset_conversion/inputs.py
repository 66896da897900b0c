"""The input of a conversion: the cases of a folder that are wanted, and how they are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from clisc_nnunet.dataset_conversion.case_choice import choose_cases
from clisc_nnunet.dataset_conversion.channels import FLAIR, Channel, chosen_channels
from clisc_nnunet.dataset_conversion.layouts import InputFolder, find_cases
from clisc_nnunet.dataset_conversion.request import Request
from clisc_nnunet.errors import one_line
from clisc_nnunet.slices import check_brain_masks

# Files that are left out for one reason are listed up to this many.
_LISTED = 3


def read_input(request: Request) -> tuple[tuple[Channel, ...], InputFolder]:
    """Channels and cases of a request.

    Raises
    ------
    UserError
        For anything the user can mend.
    """
    check_brain_masks(request.brain_masks)
    channels = chosen_channels(request.channels, request.prompt_channel)
    return channels, chosen_input(
        request.scans, channels, request.prompt_channel, request.cases, request.leave_out
    )


def chosen_input(
    folder: Path,
    channels: Sequence[Channel],
    prompt: str,
    cases: Sequence[str] = (),
    leave_out: Sequence[str] = (),
) -> InputFolder:
    """The wanted cases of a folder; see `find_cases` and `choose_cases`."""
    found = find_cases(folder, channels, prompt)
    known = [case.name for case in found.cases] + [name for name, _ in found.faults]
    taken = choose_cases(known, cases, leave_out)
    return replace(
        found,
        cases=tuple(case for case in found.cases if case.name in taken),
        faults=tuple((name, fault) for name, fault in found.faults if name in taken),
    )


def describe(found: InputFolder, prompt: str = FLAIR) -> str:
    """What was found, for the screen."""
    lines = [f"{found.layout} folder of {len(found.cases)} cases"]
    lines += [f"  {line}" for line in found.channels]
    if prompt != FLAIR:
        lines.append(
            f"  note: pseudo-labels come from {prompt}; the bundled models know FLAIR alone"
        )
    by_reason = sorted(found.ignored, key=lambda item: (item[1], str(item[0])))
    for reason, items in groupby(by_reason, key=lambda item: item[1]):
        paths = [path for path, _ in items]
        lines += [f"  left out: {one_line(path)} ({reason})" for path in paths[:_LISTED]]
        if paths[_LISTED:]:
            lines.append(f"  left out: {len(paths) - _LISTED} more ({reason})")
    lines += [f"  set aside: {fault}" for _, fault in found.faults]
    return "\n".join(lines)
