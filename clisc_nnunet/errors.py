"""Mistakes a user can mend: one line each, with what was found, what was expected and the cure."""

from __future__ import annotations

from collections.abc import Iterable

# Exit statuses of every command. 1 is Python's own for an uncaught exception: a fault of ours.
EXIT_DONE = 0
EXIT_BAD_INPUT = 2
EXIT_SOME_CASES_FAILED = 3
EXIT_NO_TUMOUR = 4
EXIT_CANNOT_WRITE = 5
EXIT_INTERRUPTED = 130

# Names that are listed in a message; a whole folder of them would hide it.
MAX_NAMES = 5


def one_line(text: object) -> str:
    """Text that can be printed, in one line: what cannot (a file's name may hold it) is escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in str(text)
    )


def named(cases: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    names = list(cases)
    text = ", ".join(names[:MAX_NAMES])
    return text + (f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else "")


class UserError(Exception):
    """A mistake in the input or the call, reported in one line.

    Parameters
    ----------
    where : str, path or other
        The file, folder, DICOM series or option at fault, named by its `str`.
    found : str
        What was found there.
    expected : str
        What should have been there.
    cure : str
        What the user can do about it.
    """

    exit_status = EXIT_BAD_INPUT

    def __init__(self, where: object, found: str, expected: str, hint: str) -> None:
        parts = (one_line(part) for part in (where, found, expected, hint))
        self.where, self.found, self.expected, self.hint = parts
        super().__init__(f"{self.where}: found {self.found}; expected {self.expected}; {self.hint}")

    def __reduce__(self) -> tuple[type, tuple[str, str, str, str]]:
        # Exceptions are rebuilt from their arguments when they cross a process border.
        return type(self), (self.where, self.found, self.expected, self.hint)


class ScanError(UserError):
    """A scan that cannot be used; the other cases go on."""


class WeightsError(UserError):
    """Weights that are absent, corrupt or of another architecture."""


class NoTumourError(UserError):
    """No case has a slice that shows a tumour: nnU-Net cannot learn from empty labels alone."""

    exit_status = EXIT_NO_TUMOUR


class StorageError(UserError):
    """The disk is full, or a file cannot be written: no case can go on."""

    exit_status = EXIT_CANNOT_WRITE
