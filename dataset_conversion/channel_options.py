"""Options of commands that look at one channel: which it is, and how its files are known."""

from __future__ import annotations

import argparse

from clisc_nnunet.dataset_conversion.channels import FLAIR


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
        type=str.lower,
        default=default,
        metavar="NAME",
        help=f"the modality to look at (default: {shown})",
    )
