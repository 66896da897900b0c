"""Shared by all commands: running, error handling, exit statuses, and common options."""

from __future__ import annotations

import argparse
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from clisc_nnunet.errors import EXIT_INTERRUPTED, UserError
from clisc_nnunet.inputs.channels import FLAIR

OptionsT = TypeVar("OptionsT")

# Messages after an interrupted call.
NOTHING_WRITTEN = "interrupted; nothing was written"
RUN_AGAIN = "interrupted; run the same command again to resume"
RUN_WITH_CONTINUE = "interrupted; run the same command with --continue to resume"


def run(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    command: Callable[[argparse.Namespace], int],
    *,
    interrupted: str = "interrupted",
    finish: Callable[[argparse.Namespace, int, BaseException | None], int] | None = None,
) -> int:
    """Parse a command line and run the command.

    User errors are reported in one line on stderr; bugs keep their traceback.

    Parameters
    ----------
    argv : sequence of str, optional
        Default: the arguments of the process.
    command : callable
        Takes the parsed options, with the text of the call as `command`; returns an exit status.
        It imports slow modules itself, so that `--help` is fast.
    interrupted : str
        Message after Ctrl-C.
    finish : callable, optional
        Called at the end in any case, with the options, the exit status (1 for a bug) and the
        exception, unless it is Ctrl-C; returns the exit status.

    Returns
    -------
    int
        Exit status, one of `clisc_nnunet.errors`.
    """
    namespace = parser.parse_args(argv)
    namespace.command = shlex.join([parser.prog, *(sys.argv[1:] if argv is None else argv)])
    # open_clip uses a part of torch that warns at import; users cannot do anything about it.
    warnings.filterwarnings("ignore", message=".*torch.jit.*", category=FutureWarning)
    status = 1  # as Python exits after an uncaught exception
    error: BaseException | None = None
    try:
        status = command(namespace)
    except UserError as mistake:
        print_error(mistake)
        status, error = mistake.exit_status, mistake
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        status = EXIT_INTERRUPTED
    except BaseException as fault:
        error = fault
        raise
    finally:
        if finish is not None:
            status = finish(namespace, status, error)
    return status


def print_error(error: UserError) -> None:
    """Report a user error on stderr."""
    print(f"error: {error}", file=sys.stderr)


def options_of(kind: type[OptionsT], namespace: argparse.Namespace, **others: Any) -> OptionsT:
    """Options of a call, from a parser whose destinations are the fields of a dataclass.

    Parameters
    ----------
    kind : type
        A dataclass.
    namespace : Namespace
        May contain additional values. Lists become tuples.
    **others
        Fields that are not a single option of the command line.

    Raises
    ------
    KeyError
        If a field has no value.
    """
    values = {**vars(namespace), **others}
    given = {field.name: values[field.name] for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add `-device`."""
    parser.add_argument(
        "-device",
        choices=("cpu", "cuda", "mps"),
        default=None,
        help="default: cuda if available",
    )


def add_processes(
    parser: argparse.ArgumentParser, default: int = 2, shown: str = "processes", remark: str = ""
) -> None:
    """Add `-np`, stored as `processes`; its help is `shown (default: N)remark`."""
    parser.add_argument(
        "-np",
        dest="processes",
        type=int,
        default=default,
        metavar="N",
        help=f"{shown} (default: {default}){remark}",
    )


def add_brain_masks(parser: argparse._ActionsContainer, remark: str = "") -> None:
    """Add `--brain-mask`, stored as `brain_masks`."""
    parser.add_argument(
        "--brain-mask",
        dest="brain_masks",
        type=Path,
        metavar="FOLDER",
        help=f"brain masks CASE.nii.gz, to use instead of brain extraction{remark}",
    )


def add_channel_options(
    parser: argparse._ActionsContainer, default: str = FLAIR, shown: str = FLAIR
) -> None:
    """Add `--channels` and `--prompt-channel` for commands that use one channel.

    Parameters
    ----------
    default : str
        Default of the label channel.
    shown : str
        Default as shown in the help.
    """
    _add_channels(
        parser,
        "how to recognise the scans, as in clisc_make_pseudo_dataset: flair=0003 for nnU-Net's "
        "channel numbers, flair=space for other file endings, flair='*_fl_*' for a pattern "
        "(default: the words of the channel, anywhere in a name)",
        f"modality to use (default: {shown})",
        default,
    )


def add_input_arguments(parser: argparse._ActionsContainer) -> None:
    """Add the options that choose cases and channels from a folder of scans."""
    _add_channels(
        parser,
        "modalities to include, in nnU-Net's order, such as flair t1 t1ce t2 (default: the "
        "prompt channel only); ENDING, words or pattern of their names if they are not the usual",
        "modality from which pseudo-labels are made (default: flair, the only one supported by "
        "the bundled models)",
    )
    parser.add_argument(
        "--cases", nargs="+", default=(), metavar="NAME|FILE", help="use only these cases"
    )
    parser.add_argument(
        "--leave-out", nargs="+", default=(), metavar="NAME|FILE", help="use all cases but these"
    )


def _add_channels(
    parser: argparse._ActionsContainer, channels: str, prompt: str, default: str = FLAIR
) -> None:
    parser.add_argument("--channels", nargs="+", default=(), metavar="NAME[=ENDING]", help=channels)
    parser.add_argument(
        "--prompt-channel",
        dest="label_channel",
        type=str.lower,
        default=default,
        metavar="NAME",
        help=prompt,
    )
