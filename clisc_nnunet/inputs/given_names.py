"""Files that an option names: by an ending, words of the name, or a pattern."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from clisc_nnunet.inputs.file_names import stem
from clisc_nnunet.inputs.name_words import split_words


def files_given(given: str, folder: Path, paths: Sequence[Path]) -> list[Path]:
    """Files that an option names: those that match it well or, if none does, in part.

    Parameters
    ----------
    given : str
        Suffix, words or pattern, in lower case. A pattern is matched with the file name without
        its extension or, if it contains `/`, with the path in `folder`.
    folder : Path
        Contains the files, at any depth.
    paths : sequence of Path
    """
    strengths = [_strength(given, path.relative_to(folder)) for path in paths]
    best = max(strengths, default=0)
    return [path for path, found in zip(paths, strengths, strict=True) if found == best > 0]


def _strength(given: str, path: Path) -> int:
    """How well a file has the name that is given for a channel: 2 well, 1 in part, 0 not."""
    name = stem(path)
    if any(char in given for char in "*?["):
        text = path.with_name(name).as_posix() if "/" in given else name
        return 2 * fnmatchcase(text.lower(), re.sub(r"\.nii(\.gz)?$", "", given))
    if re.search(rf"(^|[-_.]){re.escape(given.lstrip('-_.'))}$", name, re.I):
        return 2
    words, wanted = split_words(name), split_words(given)
    places = range(len(words) - len(wanted) + 1)
    return int(any(words[place : place + len(wanted)] == wanted for place in places))
