"""From scans that know their case and modality to cases that are whole, and those that are not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clisc_nnunet.errors import ScanError
from clisc_nnunet.inputs.channels import Channel
from clisc_nnunet.io.dicom_series import Series
from clisc_nnunet.io.volume import Source


@dataclass(frozen=True)
class FoundScan:
    """A scan in the input folder.

    Parameters
    ----------
    case : str
    modality : str
        Empty if nothing tells it.
    source : Path or Series
    """

    case: str
    modality: str
    source: Source


@dataclass(frozen=True)
class Case:
    """A case to be segmented, and the name that nnU-Net will know it by.

    Parameters
    ----------
    name : str
    image : Path or Series
        The scan from which the pseudo-label comes.
    channels : tuple of (Path or Series)
        All scans that are taken along, `image` among them, in order of nnU-Net's channels.
    """

    name: str
    image: Source
    channels: tuple[Source, ...] = ()

    @property
    def others(self) -> tuple[Source, ...]:
        """Scans that are taken along without being looked at."""
        return tuple(source for source in self.channels if source != self.image)

    def absolute(self) -> Case:
        """The same case by absolute paths, for work in other processes."""
        channels = tuple(source.absolute() for source in self.channels)
        return Case(self.name, self.image.absolute(), channels)


def accepts_unnamed(channels: Sequence[Channel]) -> bool:
    """Whether a scan of no known modality may be what is asked for: one channel, by no ending."""
    return len(channels) == 1 and not channels[0].given


def assign_label_channel(
    found: Iterable[FoundScan], channels: Sequence[Channel], prompt: str
) -> list[FoundScan]:
    """The same scans; those of no known modality as the prompt channel, where they may be it.

    A file without a modality in its name always is. A study holds much that is described in a
    hospital's own words, so a DICOM series is taken for it only where no other of its case is
    known. If several are not, nobody can say which is meant, and `group` sets the case aside.

    Parameters
    ----------
    found : iterable of Found
    channels : sequence of Channel
    prompt : str
        Name of the channel from which pseudo-labels come.
    """
    scans = list(found)
    if not accepts_unnamed(channels):
        return scans
    told = {scan.case for scan in scans if scan.modality and isinstance(scan.source, Series)}
    return [
        scan if scan.modality or scan.case in told else replace(scan, modality=prompt)
        for scan in scans
    ]


def group(
    found: Iterable[FoundScan], channels: Sequence[Channel], prompt: str, folder: Path
) -> tuple[list[Case], dict[str, ScanError]]:
    """Whole cases, in order of name, and the others with what is wrong with them.

    Parameters
    ----------
    found : iterable of Found
    channels : sequence of Channel
    prompt : str
        Name of the channel from which pseudo-labels come.
    folder : Path
        That holds them all, for the messages.
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
            cases.append(Case(name, scans[prompt][0], taken))
    return cases, faults


def _bad_name(name: str, source: Source) -> ScanError | None:
    # nnU-Net keeps the label of case A in a file A_seg and skips cases that look like one; names
    # that are no text (a file system may hold such) can neither be printed nor listed; in lists of
    # names, such as trusted.txt, `#` begins a remark.
    if name and name.isprintable() and "#" not in name and not name.endswith("_seg"):
        return None
    return ScanError(
        str(source).encode("utf-8", "backslashreplace").decode(),
        f"the case name {name!r}",
        "a name that is not empty, is printable, has no # in it and does not end in _seg",
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
            f"remove all but one, or name its ending: --channels {channel.name}=ENDING",
        )
    if not scans:
        there = [key or "unknown" for key in sorted(others) for _ in others[key]]
        return ScanError(
            folder / name if (folder / name).is_dir() else folder,
            f"no {shown} among {len(there)} scans of case {name} ({', '.join(there)})",
            f"a {shown} scan",
            f"add it, name its ending (--channels {channel.name}=ENDING), or leave the case out",
        )
    return None
