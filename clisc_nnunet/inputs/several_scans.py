"""Choose among several scans of one modality and case, by a rule that is reported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from clisc_nnunet.errors import ScanError
from clisc_nnunet.inputs.cases import FoundScan
from clisc_nnunet.inputs.channels import Channel
from clisc_nnunet.inputs.file_names import Ignored
from clisc_nnunet.inputs.name_words import preference
from clisc_nnunet.inputs.sidecars import sidecar_variant
from clisc_nnunet.io.dicom_series import Series
from clisc_nnunet.io.volume import read_geometry

RULE = "original before reformatted or processed, before contrast agent, 3D before 2D, more planes"


def choose_scans(
    found: Iterable[FoundScan], channels: Sequence[Channel], label_channel: str
) -> tuple[list[FoundScan], Ignored]:
    """Keep the preferred scan of each channel and case; `RULE` says the order.

    Scans between which the rule does not decide are all kept, and reported by `group`. A file in
    the case's own folder precedes DICOM series, and these precede files further down. Other
    channels are taken from the folder of the label channel's scan, if they are there.

    Returns
    -------
    kept : list of FoundScan
        In the given order.
    ignored : list of (Path or Series, str)
        The others, with the reason.
    """
    scans = list(found)
    names = [label_channel, *(c.name for c in channels if c.name != label_channel)]
    by_channel: dict[tuple[str, str], list[FoundScan]] = {}
    for scan in scans:
        by_channel.setdefault((scan.case, scan.modality), []).append(scan)
    dropped: Ignored = []
    homes: dict[str, Path] = {}
    for name in names:
        for case in dict.fromkeys(scan.case for scan in scans):
            candidates = by_channel.get((case, name), [])
            kept = _preferred(candidates, homes.get(case))
            if name == label_channel and len(kept) == 1:
                homes[case] = _folder(kept[0])
            shown = Channel(name).displayed
            reason = (
                f"another {shown} of its case is taken: {RULE}; --channels {name}=ENDING or a "
                "pattern names this one"
            )
            dropped += [(scan.source, reason) for scan in candidates if scan not in kept]
    gone = {id(source) for source, _ in dropped}
    return [scan for scan in scans if id(scan.source) not in gone], dropped


def _preferred(candidates: list[FoundScan], home: Path | None) -> list[FoundScan]:
    """The first candidates in the order of preference, several if it does not decide."""
    if len(candidates) < 2:
        return candidates
    orders = {id(scan): _order(scan, home, candidates) for scan in candidates}
    best = min(orders.values())
    kept = [scan for scan in candidates if orders[id(scan)] == best]
    if len(kept) < 2:
        return kept
    planes = {id(scan): _planes(scan) for scan in kept}
    return [scan for scan in kept if planes[id(scan)] == max(planes.values())]


def _order(scan: FoundScan, home: Path | None, candidates: Sequence[FoundScan]) -> tuple[int, ...]:
    text = scan.variant
    if isinstance(scan.source, Path):
        text = f"{text} {sidecar_variant(scan.source)}"
    away = int(home is not None and _folder(scan) != home)
    return away, _origin(scan, candidates), *preference(text)


def _origin(scan: FoundScan, candidates: Sequence[FoundScan]) -> int:
    """Order of files and DICOM series in one case; 0 for all where there are files alone."""
    series = [other.source for other in candidates if isinstance(other.source, Series)]
    if not series or isinstance(scan.source, Series):
        return int(bool(series))
    return 0 if scan.source.parent in {one.folder for one in series} else 2


def _folder(scan: FoundScan) -> Path:
    return scan.source.folder if isinstance(scan.source, Series) else scan.source.parent


def _planes(scan: FoundScan) -> int:
    """Number of planes, from the header; 0 if it cannot be read."""
    if isinstance(scan.source, Series):
        return len(scan.source.files)
    try:
        return read_geometry(scan.source).size[2]
    except ScanError:
        return 0
