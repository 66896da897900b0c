"""Errors that a user can fix, reported in one line: what was found, what was expected, a hint."""

from __future__ import annotations

from collections.abc import Iterable

# Exit statuses of all commands. Python exits with 1 after an uncaught exception, i.e. a bug.
EXIT_DONE = 0
EXIT_BAD_INPUT = 2
EXIT_SOME_CASES_FAILED = 3
EXIT_NO_TUMOUR = 4
EXIT_CANNOT_WRITE = 5
EXIT_INTERRUPTED = 130

# At most this many names are listed in a message.
MAX_NAMES = 5


def one_line(text: object) -> str:
    """Printable text on one line; other characters, which file names may contain, are escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in str(text)
    )


def named(cases: Iterable[str]) -> str:
    """The first few names and the number of further ones, for messages."""
    names = list(cases)
    text = ", ".join(names[:MAX_NAMES])
    return text + (f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else "")


class UserError(Exception):
    """A mistake in the input or the command, reported in one line.

    Parameters
    ----------
    where : str, path or other
        The file, folder, DICOM series or option concerned, shown by its `str`.
    found : str
        What was found there.
    expected : str
        What should have been there.
    hint : str
        How the user can fix it.
    """

    exit_status = EXIT_BAD_INPUT

    def __init__(self, where: object, found: str, expected: str, hint: str) -> None:
        parts = (one_line(part) for part in (where, found, expected, hint))
        self.where, self.found, self.expected, self.hint = parts
        super().__init__(f"{self.where}: found {self.found}; expected {self.expected}; {self.hint}")

    def __reduce__(self) -> tuple[type, tuple[str, str, str, str]]:
        # Pickling rebuilds exceptions from these arguments when they come from another process.
        return type(self), (self.where, self.found, self.expected, self.hint)


class ScanError(UserError):
    """A scan that cannot be used; processing of the other cases continues."""


class WeightsError(UserError):
    """Weights that are missing, corrupt or of another architecture."""


class NoTumourError(UserError):
    """Slices of one class only, or no tumour at all: there is nothing to learn from."""

    exit_status = EXIT_NO_TUMOUR


class StorageError(UserError):
    """The disk is full, or a file cannot be written: the run stops."""

    exit_status = EXIT_CANNOT_WRITE
