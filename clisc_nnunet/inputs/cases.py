"""Group scans by case, and report cases whose scans are missing or ambiguous."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clisc_nnunet.errors import ScanError
from clisc_nnunet.inputs.channels import Channel
from clisc_nnunet.io.dicom_series import Series
from clisc_nnunet.io.volume import Source

# Modality of files whose name says none, where those of others do.
UNKNOWN = "unknown"


@dataclass(frozen=True)
class FoundScan:
    """A scan in the input folder.

    Parameters
    ----------
    case : str
    modality : str
        Empty if unknown.
    source : Path or Series
    variant : str
        Words that tell several scans of one modality apart.
    """

    case: str
    modality: str
    source: Source
    variant: str = ""


@dataclass(frozen=True)
class Case:
    """A case to be segmented.

    Parameters
    ----------
    name : str
        Case name in the nnU-Net dataset.
    image : Path or Series
        Scan of the label channel, from which the pseudo-label is made.
    channels : tuple of (Path or Series)
        All scans including `image`, in the order of nnU-Net's channels.
    """

    name: str
    image: Source
    channels: tuple[Source, ...] = ()

    @property
    def others(self) -> tuple[Source, ...]:
        """Scans of the other channels, which do not affect the pseudo-label."""
        return tuple(source for source in self.channels if source != self.image)

    def absolute(self) -> Case:
        """The same case with absolute paths, for other processes."""
        channels = tuple(source.absolute() for source in self.channels)
        return Case(self.name, self.image.absolute(), channels)


def accepts_unnamed(channels: Sequence[Channel]) -> bool:
    """Whether scans of unknown modality may be used: for one channel without a given suffix."""
    return len(channels) == 1 and not channels[0].given


def assign_label_channel(
    found: Iterable[FoundScan], channels: Sequence[Channel], label_channel: str
) -> list[FoundScan]:
    """Assign the label channel to scans of unknown modality, where that is unambiguous.

    Files without a modality in their name are always assigned to it. DICOM studies contain many
    series with site-specific descriptions, so a series is assigned only if no other series of its
    case has a known modality. If that leaves several series, `group` reports the case as ambiguous.

    Parameters
    ----------
    found : iterable of FoundScan
    channels : sequence of Channel
        Requested channels.
    label_channel : str
        Name of the channel from which pseudo-labels are made.

    Returns
    -------
    list of FoundScan
        All scans, in the given order.
    """
    scans = list(found)
    if not accepts_unnamed(channels):
        return scans
    identified = {scan.case for scan in scans if scan.modality and isinstance(scan.source, Series)}
    return [
        scan if scan.modality or scan.case in identified else replace(scan, modality=label_channel)
        for scan in scans
    ]


def group(
    found: Iterable[FoundScan], channels: Sequence[Channel], label_channel: str, folder: Path
) -> tuple[list[Case], dict[str, ScanError]]:
    """Group scans into cases.

    Parameters
    ----------
    found : iterable of FoundScan
    channels : sequence of Channel
        Channels of which every case needs exactly one scan.
    label_channel : str
        Name of the channel from which pseudo-labels are made.
    folder : Path
        Input folder, for messages.

    Returns
    -------
    cases : list of Case
        Complete cases, sorted by name.
    faults : dict of str to ScanError
        Errors of the other cases, by name.
    """
    by_case: dict[str, dict[str, list[Source]]] = {}
    for scan in found:
        by_case.setdefault(scan.case, {}).setdefault(scan.modality, []).append(scan.source)
    cases, faults = [], {}
    for name, scans in sorted(by_case.items()):
        fault = _bad_name(name, next(iter(scans.values()))[0])
        for channel in channels:
            fault = fault or _bad_count(name, channel, scans.get(channel.name, []), scans, folder)
        if fault is not None:
            faults[name] = fault
        else:
            taken = tuple(scans[channel.name][0] for channel in channels)
            cases.append(Case(name, scans[label_channel][0], taken))
    return cases, faults


def _bad_name(name: str, source: Source) -> ScanError | None:
    # nnU-Net stores the label of case A as A_seg and skips cases named like one; names that are not
    # valid UTF-8 can be neither printed nor listed; `#` starts a comment in lists such as
    # trusted.txt.
    if name and name.isprintable() and "#" not in name and not name.endswith("_seg"):
        return None
    return ScanError(
        str(source).encode("utf-8", "backslashreplace").decode(),
        f"the case name {name!r}",
        "a printable, non-empty name without # that does not end in _seg",
        "rename it",
    )


def _bad_count(
    name: str,
    channel: Channel,
    scans: list[Source],
    others: dict[str, list[Source]],
    folder: Path,
) -> ScanError | None:
    shown = channel.displayed
    if len(scans) > 1:
        names = ", ".join(p.name if isinstance(p, Path) else p.description for p in scans)
        return ScanError(
            scans[0].parent if isinstance(scans[0], Path) else scans[0].folder,
            f"{len(scans)} files for case {name} ({names})",
            f"one {shown} scan per case",
            f"remove all but one, or give its suffix: --channels {channel.name}=ENDING",
        )
    if not scans:
        present = [key or "unknown" for key in sorted(others) for _ in others[key]]
        return ScanError(
            folder / name if (folder / name).is_dir() else folder,
            f"no {shown} among {len(present)} scans of case {name} ({', '.join(present)})",
            f"a {shown} scan",
            f"add it, give its suffix (--channels {channel.name}=ENDING), or exclude the case",
        )
    return None
