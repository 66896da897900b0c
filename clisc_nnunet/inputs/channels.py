"""Derive modalities from file name suffixes and DICOM series descriptions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from clisc_nnunet.errors import UserError
from clisc_nnunet.inputs.name_words import FLAIR, OTHER, modality_of

__all__ = ["FLAIR", "Channel", "chosen_channels", "modality_of_series", "split_ending"]

# Conventional file name suffixes, which are cut off to name a case; of several matches, the longest
# counts: `_t2_flair` is FLAIR. The words of `name_words` are recognised anywhere in a name.
_ENDINGS = {
    FLAIR: r"(t2[-_ ]?)?flair|t2f",
    "t1ce": r"t1[-_ ]?(ce|c|gd|post)",
    "t1": r"t1[wn]?",
    "t2": r"t2w?",
    "pd": r"pd",
    "dwi": r"dwi",
    "adc": r"adc",
    "swi": r"swi",
}
_DISPLAYED = {FLAIR: "FLAIR", "t1ce": "T1ce"}
# nnU-Net normalises channels of these names differently from MR images.
_NOT_MR = ("ct", "nonorm", "rescale_0_1", "rgb_to_0_1", "zscore")


@dataclass(frozen=True)
class Channel:
    """A modality that becomes an nnU-Net channel.

    Parameters
    ----------
    name : str
        Such as `flair`, `t1`, `t1ce`, `t2`, or any other file name suffix.
    given : str
        File name suffix, words of the name, a pattern such as `*_fl_*` or `*/orig/FLAIR*`, nnU-Net
        channel number (`0003`), or part of a DICOM series description given by the user; empty for
        the defaults.
    """

    name: str
    given: str = ""

    @property
    def displayed(self) -> str:
        """Name in dataset.json."""
        return _DISPLAYED.get(self.name, self.name.upper())


def parse_channels(words: Sequence[str]) -> tuple[Channel, ...]:
    """Channels from words such as `flair`, `t1`, `flair=space`, `t2=0003`.

    Raises
    ------
    UserError
        If a name is repeated or invalid.
    """
    channels = tuple(Channel(*word.lower().split("=", 1)) for word in words)
    for place, channel in enumerate(channels):
        if not re.fullmatch(r"[a-z0-9]+", channel.name) or channel.name in _NOT_MR:
            found, expected = repr(channel.name), "the name of an MR modality, letters and digits"
        elif channel.name in [other.name for other in channels[:place]]:
            found, expected = f"{channel.name} twice", "each modality once"
        else:
            continue
        raise UserError("--channels", found, expected, "such as --channels flair t1 t1ce t2")
    return channels


def chosen_channels(words: Sequence[str], label_channel: str) -> tuple[Channel, ...]:
    """Requested channels; by default the label channel only.

    Raises
    ------
    UserError
        If the label channel is not among them.
    """
    channels = parse_channels(words or (label_channel,))
    if label_channel not in [channel.name for channel in channels]:
        raise UserError(
            "--prompt-channel",
            f"{label_channel}, which is not in --channels",
            f"one of {', '.join(channel.name for channel in channels)}",
            f"add it: --channels {label_channel} {' '.join(words)}",
        )
    return channels


def split_ending(stem: str, channels: Sequence[Channel]) -> tuple[str, str]:
    """Split a file name without its format into case and modality.

    Parameters
    ----------
    stem : str
        Such as `case_1_t1ce`.
    channels : sequence of Channel
        Requested channels; suffixes given with them take precedence over the known ones.

    Returns
    -------
    case : str
    modality : str
        Empty if unknown.
    """
    patterns = {**_ENDINGS, **{c.name: c.name for c in channels if c.name not in _ENDINGS}}
    for channel in channels:
        if channel.given:
            del patterns[channel.name]
            found = re.search(rf"(^|[-_.]){re.escape(channel.given.lstrip('-_.'))}$", stem, re.I)
            if found:
                return stem[: found.start()], channel.name
    found_at = {
        name: match.start()
        for name, pattern in patterns.items()
        if (match := re.search(rf"(^|[-_.])({pattern})$", stem, re.I))
    }
    if not found_at:
        return stem, ""
    name = min(found_at, key=lambda key: found_at[key])
    return stem[: found_at[name]], name


def modality_named(text: str) -> str:
    """Channel name for a name in dataset.json, such as `t1ce` for `T1ce`."""
    found = modality_of(text)
    return text.lower() if found in ("", OTHER) else found


def nnunet_numbers(channel_names: Mapping[str, str]) -> dict[str, str]:
    """Numbers in nnU-Net's file names by channel, from `channel_names` of a dataset.json."""
    return {modality_named(str(v)): f"{int(k):04d}" for k, v in channel_names.items()}


def modality_of_series(description: str, channels: Sequence[Channel]) -> str:
    """Modality from a DICOM series description; empty if unknown."""
    given = {c.name: c.given for c in channels if c.given}
    for name, words in given.items():
        if words in description.lower() or fnmatchcase(description.lower(), words):
            return name
    found = modality_of(description, {c.name for c in channels if not c.given})
    return "" if found in given else found
