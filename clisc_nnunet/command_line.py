"""Options of commands that look at one channel: which it is, and how its files are known."""

from __future__ import annotations

import argparse

from clisc_nnunet.inputs.channels import FLAIR


def add_channel_options(
    parser: argparse.ArgumentParser, default: str = FLAIR, shown: str = FLAIR
) -> None:
    """Add `--channels` and `--prompt-channel`, with the grammar of `clisc_make_pseudo_dataset`.

    Parameters
    ----------
    parser : ArgumentParser
    default : str
        The prompt channel, if none is given.
    shown : str
        The same, for the help.
    """
    parser.add_argument(
        "--channels",
        nargs="+",
        default=(),
        metavar="NAME[=ENDING]",
        help="how the scans are known, as in clisc_make_pseudo_dataset: flair=0003 where nnU-Net's "
        "numbers do not tell, flair=space where their names end otherwise (default: the prompt "
        "channel by its usual ending)",
    )
    parser.add_argument(
        "--prompt-channel",
        dest="label_channel",
        type=str.lower,
        default=default,
        metavar="NAME",
        help=f"the modality to look at (default: {shown})",
    )


def add_input_arguments(parser: argparse._ActionsContainer) -> None:
    """Options that choose cases and channels from a folder of scans."""
    parser.add_argument(
        "--channels",
        nargs="+",
        default=(),
        metavar="NAME[=ENDING]",
        help="modalities to take along, in nnU-Net's order, such as flair t1 t1ce t2 (default: the "
        "prompt channel alone); ENDING of their files, where it is not the usual one",
    )
    parser.add_argument(
        "--prompt-channel",
        dest="label_channel",
        default="flair",
        metavar="NAME",
        help="the modality that pseudo-labels are drawn on (default: flair, which alone the "
        "bundled models know)",
    )
    parser.add_argument(
        "--cases", nargs="+", default=(), metavar="NAME|FILE", help="take these cases alone"
    )
    parser.add_argument(
        "--leave-out", nargs="+", default=(), metavar="NAME|FILE", help="take all but these"
    )
