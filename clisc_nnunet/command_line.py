"""What all commands share: how a call runs and ends, and the options that several of them have."""

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

# What an interrupted call says.
NOTHING_WRITTEN = "interrupted; nothing was written"
RUN_AGAIN = "interrupted; the same command goes on"
RUN_WITH_CONTINUE = "interrupted; the same command with --continue goes on"


def run(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    command: Callable[[argparse.Namespace], int],
    *,
    interrupted: str = "interrupted",
    finish: Callable[[argparse.Namespace, int, BaseException | None], int] | None = None,
) -> int:
    """Parse a command line and do what it asks for.

    Mistakes of the user are reported in one line on stderr; faults of ours keep their traceback.

    Parameters
    ----------
    parser : ArgumentParser
    argv : sequence of str, optional
        Default: those of the process.
    command : callable
        Takes the parsed options, with the text of the call as `command`; returns an exit status.
        It imports what is heavy itself, so that `--help` answers at once.
    interrupted : str
        The line after Ctrl-C.
    finish : callable, optional
        Is called last, however the command ended, with the options, the exit status (1 for a fault
        of ours) and what was raised, if not by the keyboard; returns the exit status.

    Returns
    -------
    int
        Exit status, one of `clisc_nnunet.errors`.
    """
    namespace = parser.parse_args(argv)
    namespace.command = shlex.join([parser.prog, *(sys.argv[1:] if argv is None else argv)])
    # open_clip still uses a part of torch that warns at import; a user can do nothing about it.
    warnings.filterwarnings("ignore", message=".*torch.jit.*", category=FutureWarning)
    status = 1  # Python's own, for a fault of ours
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
    """Report a mistake of the user on stderr."""
    print(f"error: {error}", file=sys.stderr)


def options_of(kind: type[OptionsT], namespace: argparse.Namespace, **others: Any) -> OptionsT:
    """Options of a call, from a parser whose `dest` are the fields of the class.

    Parameters
    ----------
    kind : type
        A dataclass.
    namespace : Namespace
        May hold more than the class has fields. Lists become tuples.
    **others
        Fields that no single option of the command line stands for.

    Raises
    ------
    KeyError
        If nothing stands for a field: a fault of ours.
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
        help="default: cuda if there is one",
    )


def add_processes(
    parser: argparse.ArgumentParser, default: int = 2, shown: str = "processes", remark: str = ""
) -> None:
    """Add `-np`, as `processes`; its help is `shown (default: N)remark`."""
    parser.add_argument(
        "-np",
        dest="processes",
        type=int,
        default=default,
        metavar="N",
        help=f"{shown} (default: {default}){remark}",
    )


def add_brain_masks(parser: argparse._ActionsContainer, remark: str = "") -> None:
    """Add `--brain-mask`, as `brain_masks`."""
    parser.add_argument(
        "--brain-mask",
        dest="brain_masks",
        type=Path,
        metavar="FOLDER",
        help=f"brain masks CASE.nii.gz, in place of our own extraction{remark}",
    )


def add_channel_options(
    parser: argparse._ActionsContainer, default: str = FLAIR, shown: str = FLAIR
) -> None:
    """Add `--channels` and `--prompt-channel` for commands that look at one channel.

    Parameters
    ----------
    parser : ArgumentParser or group of one
    default : str
        The prompt channel, if none is given.
    shown : str
        The same, for the help.
    """
    _add_channels(
        parser,
        "how the scans are known, as in clisc_make_pseudo_dataset: flair=0003 where nnU-Net's "
        "numbers do not tell, flair=space where their names end otherwise (default: the prompt "
        "channel by its usual ending)",
        f"the modality to look at (default: {shown})",
        default,
    )


def add_input_arguments(parser: argparse._ActionsContainer) -> None:
    """Add the options that choose cases and channels from a folder of scans."""
    _add_channels(
        parser,
        "modalities to take along, in nnU-Net's order, such as flair t1 t1ce t2 (default: the "
        "prompt channel alone); ENDING of their files, where it is not the usual one",
        "the modality that pseudo-labels are drawn on (default: flair, which alone the bundled "
        "models know)",
    )
    parser.add_argument(
        "--cases", nargs="+", default=(), metavar="NAME|FILE", help="take these cases alone"
    )
    parser.add_argument(
        "--leave-out", nargs="+", default=(), metavar="NAME|FILE", help="take all but these"
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
