"""Why no case was found in a folder: the reason that is known, in one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from clisc_nnunet.errors import ScanError, UserError, named
from clisc_nnunet.inputs.cases import UNKNOWN, FoundScan
from clisc_nnunet.inputs.channels import Channel
from clisc_nnunet.inputs.file_names import SCAN_ENDINGS, Ignored, scan_ending, stem
from clisc_nnunet.inputs.file_tree import MAX_DEPTH

EXPECTED = (
    f"CASE/CASE_flair.nii.gz, CASE_0000.nii.gz or CASE.nii.gz (or {', '.join(SCAN_ENDINGS[1:])}), "
    "BIDS, or DICOM series"
)
# Formats of scans that are not read, with the command that converts them.
_UNREAD = {
    ".img": "fslchfiletype NIFTI_GZ",
    ".tif": "volumes are needed, not single slices",
    ".png": "volumes are needed, not single slices",
    ".jpg": "volumes are needed, not single slices",
    ".zip": "unpack them",
    ".7z": "unpack them",
    ".tar": "unpack them",
    ".tgz": "unpack them",
}


def nothing_found(
    folder: Path,
    found: Sequence[FoundScan],
    ignored: Ignored,
    faults: Mapping[str, ScanError],
    label_channel: str,
) -> UserError:
    """Error for a folder without a usable case."""
    if found and not any(f.modality in (label_channel, "") for f in found):
        shown = Channel(label_channel).displayed
        return UserError(
            folder,
            f"no {shown} among {len(found)} scans ({_modalities(found)}){_depth(folder, found)}",
            f"scans with {label_channel} in their names",
            f"rename the {shown} scans, or name them: --channels {label_channel}="
            f"{_closest(found, label_channel)}",
        )
    if faults:
        return next(iter(faults.values()))
    reasons = Counter(reason for _, reason in ignored)
    masks = [source for source, reason in ignored if "segmentation" in reason]
    deep = [source for source, reason in ignored if "folders down" in reason]
    details, hint = "", "check the path and the names"
    if masks:
        details = f"; {len(masks)} named like segmentations ({named(_names(masks))})"
        hint = (
            f"check the path, or name the scans: --channels {label_channel}=ENDING or a pattern "
            "that has this word, too"
        )
    elif deep:
        details = f"; {len(deep)} folders are more than {MAX_DEPTH} folders down"
        hint = f"give a folder closer to the scans, such as {deep[0]}"
    else:
        unread = _unread([source for source, _ in ignored if isinstance(source, Path)])
        if unread:
            details, hint = unread
    return UserError(
        folder, f"no scan among {sum(reasons.values())} files and folders{details}", EXPECTED, hint
    )


def _names(sources: Sequence[object]) -> list[str]:
    return [source.name if isinstance(source, Path) else str(source) for source in sources]


def _modalities(found: Sequence[FoundScan]) -> str:
    counts = Counter(scan.modality for scan in found)
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _depth(folder: Path, found: Sequence[FoundScan]) -> str:
    paths = [scan.source for scan in found if isinstance(scan.source, Path)]
    depths = {len(path.relative_to(folder).parts) - 1 for path in paths}
    if not depths or depths == {0}:
        return ""
    low, high = min(depths), max(depths)
    return f", {low} folders down" if low == high else f", {low} to {high} folders down"


def _closest(found: Sequence[FoundScan], label_channel: str) -> str:
    """The ending that most scans of unknown modality share, or `ENDING`."""
    unknown = [scan for scan in found if scan.modality == UNKNOWN]
    endings = Counter(scan.variant for scan in unknown)
    common = [ending for ending, count in endings.most_common() if count > 1]
    if common:
        return get_close_matches(label_channel, common, 1, 0)[0]
    names = [stem(scan.source) for scan in unknown if isinstance(scan.source, Path)]
    return f"ENDING (such as that of {named(names[:2])})" if names else "ENDING"


def _unread(paths: Sequence[Path]) -> tuple[str, str] | None:
    endings = Counter(
        path.suffix.lower() for path in paths if scan_ending(path) is None and path.suffix
    )
    for ending, count in endings.most_common():
        if ending in _UNREAD:
            return f"; {count} of {ending}", f"convert {ending} to .nii.gz ({_UNREAD[ending]})"
    return None
