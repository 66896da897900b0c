"""Select cases of an input folder by `--cases` and `--leave-out`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from clisc_nnunet.dataset_layout import read_names
from clisc_nnunet.errors import UserError
from clisc_nnunet.inputs.channels import Channel
from clisc_nnunet.inputs.find_cases import InputFolder, find_cases


def chosen_input(
    folder: Path,
    channels: Sequence[Channel],
    label_channel: str,
    cases: Sequence[str] = (),
    leave_out: Sequence[str] = (),
) -> InputFolder:
    """Find the cases of a folder and select from them; see `find_cases` and `choose_cases`."""
    found = find_cases(folder, channels, label_channel)
    known = [case.name for case in found.cases] + [name for name, _ in found.faults]
    chosen = choose_cases(known, cases, leave_out)
    return replace(
        found,
        cases=tuple(case for case in found.cases if case.name in chosen),
        faults=tuple((name, fault) for name, fault in found.faults if name in chosen),
    )


def choose_cases(known: Collection[str], take: Sequence[str], leave_out: Sequence[str]) -> set[str]:
    """Names of the selected cases.

    Parameters
    ----------
    known : collection of str
        All cases of the input folder.
    take : sequence of str
        Names, or text files with one name per line (blank lines and comments after # are ignored);
        empty selects all.
    leave_out : sequence of str
        Names to exclude, in the same form.

    Raises
    ------
    UserError
        If a name is unknown, or no case is left.
    """
    chosen = set(_names(known, take, "--cases") if take else known)
    chosen -= _names(known, leave_out, "--leave-out")
    if not chosen:
        raise UserError("--cases, --leave-out", "no case left", "one or more", "exclude fewer")
    return chosen


def _names(known: Collection[str], words: Sequence[str], option: str) -> set[str]:
    """Case names given by an option, directly or in files."""
    names: set[str] = set()
    for word in words:
        if word in known:
            names.add(word)
        elif Path(word).is_file():
            names |= _checked(known, list(read_names(Path(word))), f"{option} {word}")
        else:
            names |= _checked(known, [word], option)
    return names


def _checked(known: Collection[str], names: Sequence[str], where: str) -> set[str]:
    unknown = [name for name in names if name not in known]
    if unknown:
        near = get_close_matches(unknown[0], list(known), 1) or sorted(known)[:1]
        raise UserError(
            where,
            f"unknown case {unknown[0]!r}"
            + (f" and {len(unknown) - 1} more" if unknown[1:] else ""),
            f"names of the {len(known)} cases, such as {near[0]!r}",
            "correct the name",
        )
    return set(names)
