"""Read what the names of files say: which are scans, of which modality, and of which case."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from pathlib import Path

from clisc_nnunet.inputs.channels import Channel, split_ending
from clisc_nnunet.inputs.file_names import Ignored, scan_ending, stem
from clisc_nnunet.inputs.file_tree import FileTree, TreeFile
from clisc_nnunet.inputs.given_names import files_given
from clisc_nnunet.inputs.name_words import (
    FLAIR,
    WORD,
    derivative_word,
    identity_words,
    is_derivative_folder,
    is_sorting_folder,
    modality_of,
    modality_of_folder,
    modality_of_word,
    only_says_mask,
    split_words,
)
from clisc_nnunet.inputs.sidecars import sidecar_descriptions

SEGMENTATION = "a segmentation or another derivative, by its name"
IN_SEGMENTATIONS = "in a folder of segmentations, by its name"
SEGMENTATION_FOLDER = "a folder of segmentations or derivatives, by its name"
# Modality of a scan whose channel is given by another name.
NOT_NAMED = "another"
# Modalities that a folder's name may say about files whose own names say none.
_FOLDER_MODALITIES = (FLAIR, "t1", "t1ce", "t2", "dwi", "adc", "swi")
# Short for FLAIR, if another file has the name of another modality in its place.
_FLUID = ("fl", "fla", "flr")
_BRAIN_TUMOUR = re.compile(r"brain ?(tumou?r|lesion)", re.I)


@dataclass(frozen=True)
class NamedScan:
    """A file that is not a mask by its name.

    Parameters
    ----------
    path : Path
    folders : tuple of str
        Names of the folders between the input folder and the file.
    own : str
        File name without its extension and without the names of the folders above it.
    modality : str
        Empty if nothing says it.
    case_folders : tuple of str
        Those folders that say the case, such as patient and time.
    given : bool
        Whether an option names the file.
    """

    path: Path
    folders: tuple[str, ...]
    own: str
    modality: str = ""
    case_folders: tuple[str, ...] = ()
    given: bool = False

    @property
    def stem(self) -> str:
        """File name without its extension."""
        return stem(self.path)

    @property
    def variant(self) -> str:
        """Words that tell scans of one modality and case apart."""
        sorting = [name for name in self.folders if name not in self.case_folders]
        return " ".join(
            [*("preprocessed" if name == "pre" else name for name in sorting), self.own]
        )


def leave_out_folder(channels: Sequence[Channel]) -> Callable[[Path], str]:
    """Function for `walk` that leaves out folders of masks, unless an option names them."""
    enter = any("/" in channel.given or derivative_word(channel.given) for channel in channels)

    def reason(folder: Path) -> str:
        if enter or not is_derivative_folder(folder.name) or _may_be_a_case(folder.name):
            return ""
        return SEGMENTATION_FOLDER

    return reason


def named_scans(
    tree: FileTree, images: Sequence[TreeFile], channels: Sequence[Channel]
) -> tuple[list[NamedScan], Ignored]:
    """Scans among the images of a folder, with their modalities; the others with the reason.

    What is given with a channel takes precedence over all other rules, but a word for masks must be
    a part of it: `flair=Flair` does not take `1-LesionSeg-Flair`.
    """
    root = tree.root.absolute().name
    given = _given_channels(tree.root, images, channels)
    scans: list[NamedScan] = []
    ignored: Ignored = []
    for _, files in groupby(images, key=lambda file: file.path.parent):
        taken, masks = _of_one_folder(root, list(files), given, channels)
        scans += taken
        ignored += masks
    if is_derivative_folder(root):
        scans, rejected = _conventional_only(root, scans, bool(ignored), channels)
        ignored += rejected
    return _with_folders(root, scans), ignored


def without_masks(paths: Sequence[Path]) -> tuple[list[Path], Ignored]:
    """Split files of one folder with nnU-Net's channel numbers into scans and masks."""
    names = [re.sub(r"_\d{4}$", "", stem(path)) for path in paths]
    shared = min((_common(name, names[0]) for name in names), default=0)
    if len(names) == 1 and not _BRAIN_TUMOUR.match(" ".join(WORD.findall(names[0]))):
        shared = 0
    masks = dict.fromkeys(
        path
        for path, name in zip(paths, names, strict=True)
        if derivative_word(_after_words(name, shared))
    )
    return [path for path in paths if path not in masks], [(path, SEGMENTATION) for path in masks]


def _may_be_a_case(name: str) -> bool:
    """Whether a word for masks may be a part of a case's name, as in `BraTS_Segmentation_001`."""
    words = WORD.findall(name)
    return bool(words) and not derivative_word(words[-1]) and not only_says_mask(name)


def _given_channels(
    root: Path, images: Sequence[TreeFile], channels: Sequence[Channel]
) -> dict[Path, Channel]:
    """Files that an option names, with their channel."""
    found: dict[Path, Channel] = {}
    for channel in channels:
        if channel.given:
            for path in files_given(channel.given, root, [image.path for image in images]):
                found.setdefault(path, channel)
    return found


def _of_one_folder(
    root: str, files: list[TreeFile], given: Mapping[Path, Channel], channels: Sequence[Channel]
) -> tuple[list[NamedScan], Ignored]:
    """Scans among the images of one folder; names are compared with those beside them."""
    own = {file.path: own_parts(root, file) for file in files}
    shared = _shared_words([parts[-1] for parts in own.values()])
    beside = [split_words(parts[-1]) for parts in own.values()]
    stems = [stem(file.path) for file in files]
    apart = any(
        is_derivative_folder(name) and not _is_case_folder(name, stems) for name in files[0].folders
    )
    scans: list[NamedScan] = []
    rejected: Ignored = []
    for file in files:
        channel = given.get(file.path)
        allowed = _words_of_option(channel.given) if channel else ()
        name = own[file.path][-1]
        if derivative_word(_after_words(name, shared), allowed):
            rejected.append((file.path, SEGMENTATION))
        elif apart and not (channel and _names_folder(channel)):
            rejected.append((file.path, IN_SEGMENTATIONS))
        elif channel:
            scans.append(NamedScan(file.path, file.folders, name, channel.name, given=True))
        else:
            name = _time_spelt_out(name, beside)
            variants = (name, *own[file.path][:-1][::-1])
            modality = _modality(file.path, variants, beside, channels)
            scans.append(NamedScan(file.path, file.folders, name, modality))
    return scans, rejected


def _words_of_option(given: str) -> Collection[str]:
    return {*split_words(given), *re.findall(r"[a-z]+", given)}


def _names_folder(channel: Channel) -> bool:
    """Whether an option takes files of a folder of masks."""
    return "/" in channel.given or bool(derivative_word(channel.given))


def _is_case_folder(folder: str, names: Sequence[str]) -> bool:
    """Whether a word for masks in a folder's name is a part of the case's name.

    Its files begin with the same words, and are of several modalities.
    """
    count = len(WORD.findall(folder))
    rests = [_after_words(name, count) for name in names if _common(name, folder) == count]
    kinds = {derivative_word(rest) or modality_of(rest) for rest in rests} - {""}
    return _may_be_a_case(folder) and len(rests) == len(names) and len(kinds) > 1


def own_parts(root: str, file: TreeFile) -> list[str]:
    """The file's name, and what remains of it without the names of one more folder each."""
    parts = [stem(file.path)]
    for name in (root, *file.folders):
        text = parts[-1]
        count = _common(text, name)
        words = WORD.findall(name)[:count]
        whole = count == len(WORD.findall(name)) and name != root
        if not count or (not whole and derivative_word(" ".join(words))):
            continue
        # In `T1/T1_bet` the word is the scan's own, in `P1/T1/P1_T1_FLAIR` it is a time.
        if len(parts) == 1 and all(modality_of_word(word.lower()) for word in words):
            continue
        rest = list(WORD.finditer(text))[count:]
        if rest:
            parts.append(text[rest[0].start() :])
    return parts


def _common(text: str, name: str) -> int:
    """Number of words at the beginning that two names have in common."""
    pairs = zip(split_words(text), split_words(name), strict=False)
    count = 0
    for first, second in pairs:
        if first != second:
            break
        count += 1
    return count


def _shared_words(names: Sequence[str]) -> int:
    """Number of words at the beginning of all names that are the name of the data set.

    A word for masks among them counts as such only if there are masks that are named in addition
    (`tumour_1_flair`, `tumour_1_seg`), or if it is `brain tumour` and every name says a modality.
    """
    count = min((_common(name, names[0]) for name in names), default=0)
    head = " ".join(WORD.findall(names[0])[:count]) if names else ""
    if not derivative_word(head):
        return 0
    rests = [_after_words(name, count) for name in names]
    modalities = [modality_of(rest) for rest in rests]
    masks = [derivative_word(rest) for rest in rests]
    if any(masks) and any(m and not mask for m, mask in zip(modalities, masks, strict=True)):
        return count
    return count if _BRAIN_TUMOUR.match(head) and all(modalities) else 0


def _after_words(text: str, count: int) -> str:
    rest = list(WORD.finditer(text))[count:]
    return text[rest[0].start() :] if rest else ""


def _time_spelt_out(name: str, beside: Sequence[tuple[str, ...]]) -> str:
    """The name with `time1` for a T1 that is a time: `P1_T1_FLAIR` beside `P1_T1_T2`."""
    words = split_words(name)
    matches = list(WORD.finditer(name))
    for place, (word, following) in enumerate(pairwise(words)):
        if word not in ("t1", "t2") or not modality_of_word(following):
            continue
        ends = {
            modality_of_word(other[place + 1])
            for other in beside
            if other[: place + 1] == words[: place + 1] and len(other) == place + 2
        }
        if len(ends - {""}) > 1:
            start, end = matches[place].span()
            return f"{name[:start]}time{word[1]}{name[end:]}"
    return name


def _modality(
    path: Path,
    variants: Sequence[str],
    beside: Sequence[tuple[str, ...]],
    channels: Sequence[Channel],
) -> str:
    extra = {channel.name for channel in channels if not channel.given}
    found = next(filter(None, (modality_of(name, extra) for name in variants)), "")
    if not found and _stands_for_flair(split_words(variants[0]), beside):
        found = FLAIR
    if not found:
        described = sidecar_descriptions(path)
        found = next(filter(None, (modality_of(text, extra) for text in described)), "")
    named = {channel.name for channel in channels if channel.given}
    return f"{NOT_NAMED} {found}" if found in named else found


def _stands_for_flair(words: Sequence[str], beside: Sequence[tuple[str, ...]]) -> bool:
    """Whether `fl` stands where other files have another modality: `brain_fl`, `brain_t1`."""
    for place in (n for n, word in enumerate(words) if word in _FLUID):
        for other in beside:
            same = len(other) == len(words) and all(
                a == b for n, (a, b) in enumerate(zip(words, other, strict=True)) if n != place
            )
            if same and modality_of_word(other[place]) in ("t1", "t1ce", "t2"):
                return True
    return False


def _conventional_only(
    root: str, scans: list[NamedScan], masks: bool, channels: Sequence[Channel]
) -> tuple[list[NamedScan], Ignored]:
    """In a folder named like masks, only names that end with their modality are those of scans.

    If nothing but masks is in the folder's name, there must be several modalities, or masks that
    are named as such: masks are also given the names of their scans.
    """
    ends = {scan.path: split_ending(stem(scan.path), channels)[1] for scan in scans}
    several = masks or len({name for name in ends.values() if name}) > 1
    sure = several or not only_says_mask(root)
    kept = [scan for scan in scans if scan.given or (sure and ends[scan.path])]
    paths = {scan.path for scan in kept}
    return kept, [(scan.path, IN_SEGMENTATIONS) for scan in scans if scan.path not in paths]


def _with_folders(root: str, scans: Sequence[NamedScan]) -> list[NamedScan]:
    """The scans with the folders of their cases, and the modalities that folders say."""
    modalities = _modality_folders(scans)
    names = _names_of_cases(modalities)
    sorted_apart = {
        scan.folders[:depth]
        for scan in scans
        for depth, name in enumerate(scan.folders)
        if name.lower() in ("orig", "original", "raw", "native")
    }
    own = modality_of_folder(root)
    result = []
    for scan in scans:
        above = [scan.folders[:depth] for depth in range(len(scan.folders), 0, -1)]
        modality = scan.modality or next(filter(None, map(modalities.get, above)), "")
        if not modality and own in _FOLDER_MODALITIES:
            modality = own
        case = tuple(
            names.get(path, path[-1])
            for path in reversed(above)
            if names.get(path, path[-1])
            and not is_sorting_folder(path[-1])
            and not (path[-1].lower() == "pre" and path[:-1] in sorted_apart)
            and not scan_ending(Path(path[-1]))
        )
        result.append(replace(scan, modality=modality, case_folders=case))
    return result


def _modality_folders(scans: Sequence[NamedScan]) -> dict[tuple[str, ...], str]:
    """Folders named by a modality, except those that contain another one: times named T1, T2."""
    found: dict[tuple[str, ...], str] = {}
    other: set[tuple[str, ...]] = set()
    for scan in scans:
        for depth, name in enumerate(scan.folders, 1):
            modality = modality_of(name)
            if modality and not scan.given:
                found[scan.folders[:depth]] = modality
                if scan.modality not in ("", modality):
                    other.add(scan.folders[:depth])
    return {path: modality for path, modality in found.items() if path not in other}


def _names_of_cases(
    modalities: Mapping[tuple[str, ...], str],
) -> dict[tuple[str, ...], str]:
    """What remains of the names of modality folders; empty if they only sort the files of a case.

    `P1/4_FLAIR` and `P1/VSD.Brain.MR_Flair.54512` sort; `P1_FLAIR` beside `P2_FLAIR` and `P1_T1`
    says the case P1. A folder that is not named by its modality alone counts only if there are
    others for other modalities beside it.
    """
    beside: dict[tuple[str, ...], dict[tuple[str, ...], str]] = {}
    for path, modality in modalities.items():
        beside.setdefault(path[:-1], {})[path] = modality
    names: dict[tuple[str, ...], str] = {}
    for paths in beside.values():
        several = len(set(paths.values())) > 1
        repeated = len(set(paths.values())) < len(paths)
        for path in paths:
            pure = bool(modality_of_folder(path[-1]))
            if not pure and not several:
                continue
            # Above the first case, numbers are those of patients.
            cases = repeated and (not pure or len(path) == 1)
            words = identity_words(path[-1]) if cases else ()
            names[path] = "_".join(word for word in WORD.findall(path[-1]) if word.lower() in words)
    return names
