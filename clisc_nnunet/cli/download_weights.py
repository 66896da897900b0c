"""`clisc_download_weights`: download models by name before they are needed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from clisc_nnunet.command_line import RUN_AGAIN, print_error, run
from clisc_nnunet.errors import EXIT_BAD_INPUT, EXIT_DONE, UserError


def table() -> str:
    """Table of the known models, and whether they have been downloaded."""
    from clisc_nnunet.models.download import present
    from clisc_nnunet.models.registry import ENTRIES, weights_folder

    rows = [("name", "for", "MB", "here", "licence", "hash", "what")]
    for entry in ENTRIES.values():
        here = "yes" if present(entry) is not None else "no"
        digest = f"{entry.digest.algorithm} {entry.digest.begins[:8]}" if entry.digest else "none"
        rows.append(
            (entry.name, f"--{entry.role}", str(entry.megabytes), here, entry.licence, digest,
             entry.what)
        )  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(f"{c:{w}}" for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
    return "\n".join([*lines, "", f"folder: {weights_folder()}"])


def describe(name: str) -> str:
    """Entry of a model in the registry, as text."""
    entry = _entry(name)
    digest = entry.digest
    lines = {
        "what": entry.what,
        "address": entry.source.address,
        "size": f"{entry.megabytes} MB" if entry.megabytes else "unknown",
        "hash": f"{digest}, stated by {digest.stated}" if digest else "none stated",
        "input": f"{entry.input_size} pixels, mean {entry.mean}, std {entry.std}",
        "licence": entry.licence,
        "citation": entry.citation,
    }
    return "\n".join([entry.name, *(f"  {key:9}{value}" for key, value in lines.items())])


def _entry(name: str):  # type: ignore[no-untyped-def]  # importing the type is slow
    from clisc_nnunet.models.locate import find_entry
    from clisc_nnunet.models.registry import ENTRIES

    entry = find_entry(name)
    if entry is None:
        raise UserError(
            name,
            "an unknown model",
            f"one of {', '.join(ENTRIES)}, or ARCHITECTURE/TAG of open_clip",
            "see clisc_download_weights --list",
        )
    return entry


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns 0 if all models are available, else 2."""
    return run(make_parser(), argv, _download, interrupted=RUN_AGAIN)


def _download(namespace: argparse.Namespace) -> int:
    if namespace.list or not namespace.names:
        print(table())
        return EXIT_DONE
    from clisc_nnunet.models.download import fetch

    status = EXIT_DONE
    for name in namespace.names:
        try:
            print(describe(name) if namespace.show else f"{name}: {fetch(_entry(name))}")
        except UserError as error:  # continue with the other models
            print_error(error)
            status = EXIT_BAD_INPUT
    return status


def make_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        prog="clisc_download_weights",
        description="Download published models to the weights folder (CLISC_WEIGHTS, or the "
        "platform's cache folder) and verify their hashes.",
        epilog="Exit status: 0 all models available; 2 some are not; 130 interrupted.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="models to download; see --list")
    parser.add_argument("--list", action="store_true", help="list known models, download nothing")
    parser.add_argument(
        "--show", action="store_true", help="show details of NAME, download nothing"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
