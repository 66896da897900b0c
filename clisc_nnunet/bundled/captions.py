"""Captions of normal slices and of slices with a tumour, generated from a grammar.

The paper's two prompts are not among them, so that the text tower is evaluated on unseen prompts;
every word of those prompts occurs elsewhere in the grammar.
"""

from __future__ import annotations

import numpy as np

SUBJECTS = (
    "an image of brain tissue",
    "an image of the brain",
    "a brain mri",
    "a flair image of the brain",
    "a flair slice",
    "an mri slice of the brain",
    "a slice of brain tissue",
    "an axial flair mri slice",
    "a scan of the head",
    "a magnetic resonance image of a brain",
    "brain tissue",
    "the brain",
)
LINKS = ("showing", "with", "that shows", "containing", "displaying")
FINDINGS = (
    "tumor",
    "tumour",
    "glioma",
    "brain tumor",
    "lesion",
    "mass",
    "suspicious mass",
    "large lesion",
    "mass lesion",
    "region of abnormal intensity",
    "area of abnormal signal",
    "region of hyperintensity",
    "hyperintense lesion",
    "bright mass",
    "bright region",
    "abnormality",
    "pathology",
    "neoplasm",
    "glioblastoma",
    "tumor with edema",
    "cystic tumor",
    "infiltrating tumor",
)
APPEARANCES = (
    "",
    "with uneven hyperintensity",
    "with irregular borders",
    "with uneven signal intensity",
    "with a dark core",
    "with surrounding edema",
    "distinct from surroundings",
    "distinct from the surrounding tissue",
    "with uneven borders and hyperintensity",
    "with irregular borders distinct from surroundings",
    "brighter than the surrounding tissue",
    "in one hemisphere",
    "with high intensity",
)
NORMAL_APPEARANCES = (
    "typical signal intensity",
    "normal signal intensity",
    "a normal appearance",
    "typical intensity",
    "healthy tissue",
    "normal anatomy",
    "healthy brain tissue",
    "homogeneous tissue",
    "even intensity",
    "no abnormality",
    "normal white matter and grey matter",
    "typical tissue contrast",
    "regular structures",
    "symmetric hemispheres",
)
NEGATIONS = (
    "without",
    "without any",
    "with no",
    "free of",
    "and no sign of",
    "without evidence of",
    "and without",
)
PLURALS = (
    "tumor",
    "tumors",
    "tumour",
    "lesion",
    "lesions",
    "mass",
    "suspicious mass",
    "abnormal intensity",
    "abnormal signal",
    "abnormality",
    "regions of hyperintensity",
    "regions of abnormal signal",
    "bright mass",
    "pathology",
    "glioma",
    "edema",
    "lesions or tumors",
    "tumor or mass",
    "hyperintensity or mass",
    "abnormal intensity or lesions",
)


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _article(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def tumour_caption(rng: np.random.Generator) -> str:
    """A random caption of a slice with a tumour."""
    return _join(
        rng.choice(SUBJECTS),
        rng.choice(LINKS),
        _article(rng.choice(FINDINGS)),
        rng.choice(APPEARANCES),
    )


def normal_caption(rng: np.random.Generator) -> str:
    """A random caption of a normal slice: normal appearance, absence of a finding, or both."""
    appearance = _join(rng.choice(LINKS), rng.choice(NORMAL_APPEARANCES))
    negation = _join(rng.choice(NEGATIONS), rng.choice(PLURALS))
    tails = (appearance, negation, _join(appearance, negation))
    return _join(rng.choice(SUBJECTS), tails[rng.integers(len(tails))])


def draw_captions(count: int, seed: int) -> tuple[list[str], list[str]]:
    """Unique captions of normal slices and of slices with a tumour, at most `count` of each."""
    rng = np.random.default_rng(seed)
    normal = dict.fromkeys(normal_caption(rng) for _ in range(count))
    tumour = dict.fromkeys(tumour_caption(rng) for _ in range(count))
    return list(normal), list(tumour)
