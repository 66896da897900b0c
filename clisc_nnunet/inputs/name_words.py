"""What the words of a name say: the sequence, a mask or another derivative, a variant, a time.

The tables below serve file names, folder names and DICOM series descriptions alike. A word is a run
of letters and digits; case and separators do not matter.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence
from functools import lru_cache

FLAIR = "flair"
# Modality of sequences that never become a channel unless they are named by an option.
OTHER = "other"
WORD = re.compile(r"[^\W_]+")


def _any_of(words: str) -> re.Pattern[str]:
    """Pattern of any of some words, each of which may be a regular expression."""
    return re.compile("|".join(words.split()))


_AXIS = r"(?:[23]d|ax|sag|cor|tra|iso|[rsw])?"
# Modalities by word; the first match counts.
MODALITY_WORDS = (
    # GE's T1 FLAIR is a T1 sequence, and `T1toFLAIR` a T1 scan on the grid of FLAIR.
    ("t1", _any_of(r"\w*t1\w*flair t1\w*(?:to|in|on|reg)(?:flair|t2f|t2)\w*")),
    ("t2", _any_of(r"t2\w*(?:to|in|on|reg)(?:flair|t1)\w*")),
    (FLAIR, _any_of(rf"\w*flair\w* {_AXIS}t2f \w*darkfluid\w*")),
    (
        "t1ce",
        _any_of(
            rf"{_AXIS}t1w?(?:ce|c|gd|gad|gado|post|contrast|km|wce|wgd) "
            r"(?:c|ce|gd|gad|post)t1w? gado"
        ),
    ),
    (
        "t1",
        _any_of(
            rf"{_AXIS}t1(?:w|n|wi|pre|weighted|se|tse|fse|ir|gre|tfe|ffe|map|mpr|fl2d|fl3d)? "
            r"\w*mprage mp2rage mpr1mm bravo f?spgr"
        ),
    ),
    ("t2", _any_of(rf"{_AXIS}t2(?:w|wi|weighted|se|tse|fse|spc|blade|haste)?")),
    ("pd", _any_of(r"pdw? dp")),
    ("adc", _any_of(r"[ed]?adc(?:map)?")),
    ("dwi", _any_of(r"\w*dwi\w* diff diffusion\w* tracew? b1000")),
    ("swi", _any_of(r"swi\w* swan venobold")),
    (
        OTHER,
        _any_of(
            r"""
            p?c?asl dti\w* tensor colfa fa md rd ad eddy noddi b0 ep2d\w* epi
            perf\w* pwi dsc dce ktrans r?cb[vf] mtt tmax ttp bold fmri rest
            loc locali[sz]ers? localizador \w*scout\w* survey calib\w* fieldmap fmap
            mr[av] tof\w* \w*angio\w* mrs spectro\w* svs
            dir psir stir gre mtr t1rho qsm ciss fiesta t2(?:s|star|gre|ffe)\w*
            ct cta pet fdg atlas template subtraction subtracted
            """
        ),
    ),
)
# Words too short or too common to say the sequence beside another word that does.
_WEAK_MODALITY = _any_of(
    "gado gre dir b0 pd dp fa md rd ad ct loc epi rest eddy perf calib b1000 diff atlas template "
    "spgr bravo"
)
_CONTRAST = _any_of(
    "ce gd gad gado gadolinium gadovist post postcontrast postgad postgd contrast kontrast km c"
)
_NO_CONTRAST = _any_of("no non pre without w o nativ native before sans ohne")
# `T1_to_FLAIR` is a T1 scan on the grid of FLAIR.
_ONTO = _any_of("to onto in into on reg coreg registered")

# Words of masks, label maps and maps that are derived from a scan, whole or as a part of camelCase.
_MASK = _any_of(
    r"""
    [a-z]*seg(?:s|m|ms|ments?|mentations?|mented|mentierung|mentacion)? \w*segment\w*
    \w*mask(?!ed)\w* [a-z]*msk \w*label\w* gt truth \w*groundtruth ot annot\w* [a-z]?rois?
    contours? delineat\w* outlines? manual\w* consensus experts? raters? staple gtv\w* ctv ptv
    glistr\w* bratumia hdglio lpa ples\w* aparc\w* parc parcellat\w* pve\w*
    prob(?:s|seg|maps?|abilit\w*|abil\w*)? posteriors? heatmaps? uncertainty entropy logits? softmax
    pred preds predictions? predicted overlays? screenshot
    bias\w* warp(?:field)? xfm jacobian displacement deformation phase pha imaginary
    """
)
# Words of what a mask shows; they may also be a part of a data set's or a patient's name.
_TARGET = _any_of(
    r"""
    \w*tumou?rs? \w*tumou?r(?:al|core|bed) tumeurs? lesions?\w* \w*lesions? l(?:ä|ae)sion(?:en)?
    o?edema (?:ö|oe)dem swelling core wt tc et ed ncr net netc snfh rc necro\w* nonenhancing
    enhancing cavity resectioncavity wmhs? infarcts? plaques? hyperintensit\w*
    gm wm csf gmwm ventricles?
    """
)
# Folders of what software made of the scans.
_DERIVED_FOLDER = _any_of("derivatives? derived macosx freesurfer fastsurfer")

# How a scan was acquired or processed: says nothing about case and time.
_REFORMAT = _any_of(r"mprs? reformat\w* rfmt recon\w* reslic\w* mip eq tilt nd dis[23]d")
_PROCESSED = _any_of(
    r"""
    h?d?bet betted brain (?:un)?stripped strip \w*skull\w* deskulled extracted masked synthstrip
    n4 n4itk corr corrected norm\w* zscore denois\w* smooth\w* moco std
    reg coreg registered aligned r2s mni\w* sri24 atlas space ants fsl warped resampl\w* interp\w*
    resized? isovox iso1mm reorient\w* conform\w* robustfov crop\w* padded deface\w* anon\w*
    preproc\w* processed
    """
)
_ACQUIRED = _any_of(
    r"""
    ax axial tra trans transverse transversal sag sagittal cor coronal obl\w* view long short
    tse fse se spc cube vista brainview tirm tir ir fs fatsat fat sat propeller blade
    [23]d iso mm [0-9]mm hr lr highres lowres hires grappa caipi sense cs
    mr mri head images? series protocol weighted w o xx part mag desc acq
    orig original native raw nifti nii noreg
    """
)
# `P2`, but `t1_mprage_p2` with parallel imaging.
_MAY_BE_A_PATIENT = _any_of("p[234]")
_TIME = re.compile(
    r"(?:time|timepoint|tp|week|wk|month|mo|year|yr|day|visit|session|ses|exam|study|scan|stage|fu"
    r"|t|v|followup|follow|up|point|baseline|bl|preop|postop|intraop|pre|post|screening|initial"
    r"|recurrence|before|after|rt|progression|date)\d*|\d+|\d+[a-z]"
)
# Folders that only sort the files of a case.
_SORTING = _any_of(
    r"""
    orig original raw native niftis? nii dicom dcm anat anatomy anatomical structural images? imgs?
    mri mr scans? data files? export converted inputs? processed preproc preprocessed bet hdbet
    brain (?:un)?stripped skull strip skullstripped n4 mni registered reg coreg
    """
)

_RUN = re.compile(
    r"(?<![a-z0-9])(?:run|echo|series|rec|acq|part)[-_]?(?:\d+|[23]d)?(?![a-z0-9])", re.I
)
_ONTO_PAIR = re.compile(r"(?:^|_)(?:space|from|to|mod|ref)-[^_]*", re.I)
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SPELLINGS = (
    (re.compile(r"t2\s?\*", re.I), "t2star"),
    (re.compile(r"\+\s?c\b|\bc\s?\+", re.I), " ce "),
)


@lru_cache(maxsize=1 << 16)
def split_words(text: str) -> tuple[str, ...]:
    """Words of a text in lower case, `a_T2-FLAIR` as `a`, `t2`, `flair`."""
    return tuple(WORD.findall(text.lower()))


@lru_cache(maxsize=1 << 16)
def modality_of_word(word: str) -> str:
    """Modality that a single word in lower case says; empty if it says none."""
    return next((name for name, words in MODALITY_WORDS if words.fullmatch(word)), "")


def modality_of(text: str, extra: Collection[str] = ()) -> str:
    """Modality that a name or a description says.

    Parameters
    ----------
    text : str
        Name without the case, or a DICOM series description.
    extra : collection of str
        Further modalities, in lower case, each of which is its own word.

    Returns
    -------
    str
        Such as `flair` or `t1ce`; `other` for sequences that are not told apart, and for maps of
        two sequences (`t1ce-t1`); empty if no word says it.
    """
    for spelling, plain in _SPELLINGS:
        text = spelling.sub(plain, text)
    words = split_words(_ONTO_PAIR.sub("_", text))
    found = _modalities(words, extra)
    strong = [hit for hit in found if not _WEAK_MODALITY.fullmatch(words[hit[0]])]
    return _decide(words, strong or found)


def _modalities(words: Sequence[str], extra: Collection[str]) -> list[tuple[int, str]]:
    """Places of the words that say a modality, and what they say."""
    found = []
    for place, word in enumerate(words):
        name = word if word in extra else modality_of_word(word)
        following = words[place + 1] if place + 1 < len(words) else ""
        if (word, following) == ("dark", "fluid"):
            name = FLAIR
        elif (word, following) == ("mp", "rage"):
            name = "t1"
        elif name == "t2" and following == "star":
            name = OTHER
        if name == "t1" and _with_contrast(words, place):
            name = "t1ce"
        if name:
            found.append((place, name))
    return found


def _with_contrast(words: Sequence[str], place: int) -> bool:
    """Whether the words say that the T1 scan at a place shows a contrast agent."""
    for at, word in enumerate(words):
        if not _CONTRAST.fullmatch(word) or (word == "c" and at != place + 1):
            continue
        if not any(_NO_CONTRAST.fullmatch(before) for before in words[max(at - 2, 0) : at]):
            return True
    return False


def _decide(words: Sequence[str], found: list[tuple[int, str]]) -> str:
    """One modality for the words that were found."""
    if not found:
        return ""
    for (first, name), (second, _) in itertools.pairwise(found):
        if any(_ONTO.fullmatch(word) for word in words[first + 1 : second]):
            return name
    names = [name for _, name in found]
    if FLAIR in names:
        names = [name for name in names if name != "t2"]
        if set(names) == {FLAIR}:
            return FLAIR
        last, name = found[-1]
        # T1 FLAIR is a T1 sequence; a scan's own word comes last (`T1_2019_FLAIR`, a time point).
        if name == FLAIR and last == len(words) - 1 and found[-2][0] < last - 1:
            return FLAIR
        return next(name for name in names if name != FLAIR)
    if len(set(names)) > 1 and found[-1][0] == found[-2][0] + 1 and found[-1][0] == len(words) - 1:
        return OTHER
    return names[-1]


def derivative_word(text: str, allowed: Collection[str] = (), *, targets: bool = True) -> str:
    """The word of a name that says it is a mask or another derivative of a scan; empty if none.

    Parameters
    ----------
    text : str
        Name without the case, in its own spelling: `tumorMask` is two words.
    allowed : collection of str
        Words in lower case that say nothing, such as those that an option names.
    targets : bool
        Whether names of what is segmented (`lesion`, `wt`) count, too.
    """
    before = ""
    for token in WORD.findall(text):
        parts = [token, *_CAMEL.findall(token)]
        for part in (part.lower() for part in parts):
            if part in allowed or token.lower() in allowed:
                continue
            if _MASK.fullmatch(part.rstrip("0123456789") or part):
                return token
            if targets and _TARGET.fullmatch(part) and not (part == "wt" and before == "idh"):
                return token  # IDH-wt is a genotype
            if targets and len(part) > 4 and _TARGET.fullmatch(part.rstrip("0123456789")):
                return token
        before = token.lower()
    return ""


@lru_cache(maxsize=1 << 14)
def is_derivative_folder(name: str) -> bool:
    """Whether a folder's name says that it contains masks or other derivatives."""
    words = split_words(name)
    if any(_DERIVED_FOLDER.fullmatch(word) for word in words) or derivative_word(
        name, targets=False
    ):
        return True
    # `tumour`, `P1_tumour`; but `tumour01` is a patient, and `brain_tumour` a data set.
    last = words[-1] if words else ""
    return len(last) > 3 and bool(_TARGET.fullmatch(last)) and not words[0].startswith("brain")


def only_says_mask(name: str) -> bool:
    """Whether all words of a folder's name are those of masks, as in `images_segm`, `labelsTr`."""
    words = WORD.findall(name)
    return is_derivative_folder(name) and all(
        derivative_word(word) or _SORTING.fullmatch(word.lower()) or word.isdigit()
        for word in words
    )


@lru_cache(maxsize=1 << 14)
def is_sorting_folder(name: str) -> bool:
    """Whether a folder's name says nothing about the case: `NIFTI`, `orig`, `images_structural`."""
    words = split_words(name)
    return bool(words) and all(_SORTING.fullmatch(word) for word in words)


@lru_cache(maxsize=1 << 14)
def modality_of_folder(name: str) -> str:
    """Modality of a folder named by it, with or without a number (`4_FLAIR`); or empty."""
    words = [word for word in split_words(name) if not word.isdigit()]
    if not words or not all(
        modality_of_word(word) or _ACQUIRED.fullmatch(word) or _CONTRAST.fullmatch(word)
        for word in words
    ):
        return ""
    return modality_of(name)


def is_time(name: str) -> bool:
    """Whether a name only says a time or a number, such as `week-044`, `ses-2`, `T1` or `0`."""
    words = split_words(name)
    return bool(words) and all(_TIME.fullmatch(word) for word in words)


def identity_words(text: str) -> tuple[str, ...]:
    """Words that say neither a modality nor how the scan was acquired or processed.

    Words of a contrast agent count as such only before the modality: `post_T1` is a time.
    """
    chosen: list[str] = []
    after = False
    for word in split_words(_RUN.sub(" ", _ONTO_PAIR.sub("_", text))):
        if modality_of_word(word) or word in ("dark", "fluid"):
            after = True
        elif _MAY_BE_A_PATIENT.fullmatch(word):
            chosen += [] if after else [word]
        elif not (after and (_CONTRAST.fullmatch(word) or word == "pre")) and not any(
            kind.fullmatch(word) for kind in (_REFORMAT, _PROCESSED, _ACQUIRED, _ONTO)
        ):
            chosen.append(word)
    return tuple(chosen)


def time_words(words: Sequence[str]) -> tuple[str, ...]:
    """Those of a name's words that say a time or a number; of a date and time, the date."""
    return tuple(
        word[:8] if re.fullmatch(r"\d{12,14}", word) else word
        for word in words
        if _TIME.fullmatch(word) or any(char.isdigit() for char in word)
    )


def preference(text: str) -> tuple[int, int, int]:
    """Order among several scans of one modality and study; the smallest is preferred.

    Returns
    -------
    tuple of int
        Number of words of reformatted or processed scans, whether a contrast agent was given,
        whether the scan is 2D rather than 3D or unknown.
    """
    moved = len(_ONTO_PAIR.findall(text))
    words = split_words(_ONTO_PAIR.sub("_", text))
    volume = bool({"3d", "space", "spc", "cube", "vista", "brainview", "iso"} & set(words))
    # `space` is a 3D sequence of Siemens, and onto another space in BIDS' `space-MNI`.
    derived = sum(
        bool(_REFORMAT.fullmatch(word) or _PROCESSED.fullmatch(word))
        for word in words
        if word != "space"
    )
    with_contrast = any(_CONTRAST.fullmatch(word) and word != "c" for word in words)
    return derived + 2 * moved, int(with_contrast), 2 if "2d" in words else 0 if volume else 1
