"""Lists of cases that people keep as text: a name a line, `#` begins a remark."""

from __future__ import annotations

from pathlib import Path

from clisc_nnunet.errors import UserError

# Beside a dataset, in its `clisc` folder: cases that a person has checked or corrected, and cases
# that are not to be learnt from.
TRUSTED_FILE, EXCLUDE_FILE = "trusted.txt", "exclude.txt"


def read_names(path: Path) -> dict[str, str]:
    """Names in a list, in its order, each with its whole line; none if there is no such file.

    Raises
    ------
    UserError
        If the file is no text.
    """
    if not path.is_file():
        return {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(path, str(error), "a text file, one case a line", "mend it") from None
    names = {line.split("#")[0].strip(): line.strip() for line in lines}
    names.pop("", None)
    return names
