"""Find the masks of a folder, of predictions or of a data set, by case."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from clisc_nnunet.errors import UserError, named
from clisc_nnunet.inputs.case_names import unique_names
from clisc_nnunet.inputs.file_names import scans_among, stem
from clisc_nnunet.inputs.file_tree import TreeFile, walk
from clisc_nnunet.inputs.given_names import files_given
from clisc_nnunet.inputs.name_words import (
    FLAIR,
    WORD,
    derivative_word,
    identity_words,
    is_derivative_folder,
    is_sorting_folder,
    modality_of,
    only_says_mask,
    time_words,
)
from clisc_nnunet.inputs.scan_names import own_parts

# Suffix of BraTS references; BraTS 2020 has one `_Segm` among its `_seg`.
_SEGMENTATION = re.compile(r"[-_]segm?$", re.I)
# Masks and maps that are no reference of a lesion, unless an option names them.
_NO_REFERENCE = re.compile(
    r"brain(?:mask|seg)\w*|parenchyma|skull\w*|head|fg|foreground|deface\w*|bias\w*|prob\w*|pve\w*|aseg|aparc\w*"
    r"|gm|wm|csf|warp\w*|xfm|phase|uncertainty|entropy|logits?|softmax|ventricles?"
)


@dataclass(frozen=True)
class _Mask:
    """A file that may be a mask; `named` says so, `folders` are those of its case."""

    path: Path
    folders: tuple[str, ...]
    own: str
    named: bool

    @property
    def words(self) -> tuple[str, ...]:
        """Words of the case in the file's own name."""
        return mask_key(self.own)


def find_masks(folder: Path, mask_name: str = "") -> dict[str, Path]:
    """Masks of a folder by case.

    Parameters
    ----------
    folder : Path
        Contains `CASE.nii.gz` as in nnU-Net, `CASE_seg.nii.gz`, folders `CASE/..._seg.nii.gz` as in
        BraTS, or the tree of a data set with masks that are named as such: `CASE_tumorMask`,
        `CASE/MASK`, `derivatives/sub-1/ses-1/..._msk`. Masks of the brain do not count.
    mask_name : str
        Ending, words or pattern of the masks' names, where a case has several.

    Raises
    ------
    UserError
        If there is no mask, or more than one for a case.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise UserError(folder, found, "a folder of masks", "check the path")
    tree = walk(folder)
    images = set(scans_among(file.path for file in tree.files)[0])
    masks = [
        _Mask(
            file.path,
            tuple(name for name in file.folders if not _only_sorts(name)),
            own_parts(folder.absolute().name, file)[-1],
            _says_mask(file),
        )
        for file in tree.files
        if file.path in images
    ]
    masks = _named_by_option(folder, masks, mask_name) if mask_name else _references(masks)
    if not masks:
        raise UserError(
            folder,
            f"no mask among {len(tree.files)} files"
            + (f" that is named ...{mask_name}" if mask_name else ""),
            "CASE.nii.gz, or CASE/CASE_seg.nii.gz",
            "check the path and the names" + ("" if mask_name else ", or use --mask-name"),
        )
    cases = _by_case(folder, masks)
    chosen = {case: _one_of(several) for case, several in cases.items()}
    twice = {case: several for case, several in chosen.items() if len(several) > 1}
    if twice:
        names = sorted({mask.path.name for mask in next(iter(twice.values()))})
        raise UserError(
            folder,
            f"several masks of {named(twice)} ({named(names)})",
            "one per case",
            "name one: --mask-name ENDING or a pattern, or remove all but one",
        )
    return {case: masks[0].path for case, masks in sorted(chosen.items())}


def mask_key(name: str) -> tuple[str, ...]:
    """Words of a name that say the case, by which masks and predictions are matched."""
    return tuple(
        word for word in identity_words(name) if not derivative_word(word) and word != "brain"
    )


def _says_mask(file: TreeFile) -> bool:
    """Whether the name of a file or of its folders is that of a mask."""
    name = stem(file.path)
    if derivative_word(name) or any(map(only_says_mask, file.folders)):
        return True
    return any(map(is_derivative_folder, file.folders)) and not modality_of(name)


def _is_reference(name: str) -> bool:
    words = WORD.findall(name)
    after_brain = (b for a, b in pairwise(words) if a.lower() == "brain")
    return not any(_NO_REFERENCE.fullmatch(word.lower()) for word in words) and not any(
        derivative_word(word, targets=False) for word in after_brain
    )


def _only_sorts(name: str) -> bool:
    return is_sorting_folder(name) or is_derivative_folder(name)


def _named_by_option(folder: Path, masks: Sequence[_Mask], mask_name: str) -> list[_Mask]:
    """Masks that an option names, the better matches if there are any."""
    paths = set(files_given(mask_name.lower(), folder, [mask.path for mask in masks]))
    return [mask for mask in masks if mask.path in paths]


def _references(masks: Sequence[_Mask]) -> list[_Mask]:
    """Masks by their names; where none is named so, and for plain names, all images."""
    some = any(mask.named for mask in masks)
    plain = {mask.path for mask in masks if not mask.folders and not mask.named}
    return [
        mask
        for mask in masks
        if (mask.named and _is_reference(mask.own))
        or (not mask.named and not modality_of(mask.own) and (mask.path in plain or not some))
        or (mask.path in plain and not some)
    ]


def _by_case(folder: Path, masks: Iterable[_Mask]) -> dict[str, list[_Mask]]:
    """Masks by the name of their case, as `find_cases` names it."""
    by_folder: dict[tuple[str, ...], list[_Mask]] = {}
    cases: dict[str, list[_Mask]] = {}
    groups: dict[tuple[str, ...], list[_Mask]] = {}
    for mask in masks:
        if mask.folders:
            by_folder.setdefault(mask.folders, []).append(mask)
        else:
            name = _file_case(mask)
            name = name if mask_key(name) or not mask.named else folder.absolute().name
            cases.setdefault(name, []).append(mask)
    for folders, inside in by_folder.items():
        times = {mask.path: time_words(mask.words) for mask in inside}
        several = len(set(times.values())) > 1
        for mask in inside:
            name = _file_case(mask)
            if several and not name.lower().startswith(folders[-1].lower()):
                name = "_".join((folders[-1], *times[mask.path]))
            parts = (*folders[:-1], name) if several else folders
            groups.setdefault(parts, []).append(mask)
    names = unique_names(list(groups), taken=set(cases))
    for parts, inside in groups.items():
        cases.setdefault(names[parts], []).extend(inside)
    return cases


def _file_case(mask: _Mask) -> str:
    """File name without the words for masks at its end."""
    text = _SEGMENTATION.sub("", stem(mask.path))
    if text != stem(mask.path):
        return text
    words = list(WORD.finditer(text))
    while len(words) > 1 and derivative_word(words[-1][0]):
        words.pop()
    return text[: words[-1].end()] if words else text


def _one_of(masks: list[_Mask]) -> list[_Mask]:
    """The mask of a case: `_seg` as in BraTS, or the one on FLAIR; several if that does not say."""
    for preferred in (
        [mask for mask in masks if mask.named],
        [mask for mask in masks if _SEGMENTATION.search(stem(mask.path))],
        [mask for mask in masks if modality_of(mask.own) == FLAIR],
    ):
        if len(masks) > 1 and len(preferred) == 1:
            return preferred
    return masks
