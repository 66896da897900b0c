"""Tissue maps of healthy heads: MNI152 from nilearn, or label maps from a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from clisc_nnunet.errors import UserError
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.phantoms.random_fields import blur

TISSUES = ("ventricle", "csf", "grey", "white", "skull", "scalp")
BRAIN_TISSUES = 4

# BrainWeb's 20 anatomical models: voxel value -> tissue (fat and muscle count as scalp).
_BRAINWEB = {
    1: "csf",
    2: "grey",
    3: "white",
    4: "scalp",
    5: "scalp",
    6: "scalp",
    7: "skull",
    8: "csf",
    9: "scalp",
    10: "csf",
    11: "skull",
}
# FreeSurfer's labels, as in SynthSeg's label maps -> tissue. 25 and 57 are white-matter lesions,
# 40 ml in some heads; they count as healthy white matter, since `mimics.py` adds lesions.
_FREESURFER = {
    **dict.fromkeys((2, 41, 7, 46, 16, 25, 28, 57, 60, 85), "white"),
    **dict.fromkeys((3, 42, 8, 47, 10, 49, 11, 50, 12, 51, 13, 52, 17, 53, 18, 54, 26, 58), "grey"),
    **dict.fromkeys((4, 43, 5, 44, 14, 15), "ventricle"),
    24: "csf",
}
# CSF deeper than this inside the brain counts as ventricle.
_VENTRICLE_DEPTH_MM = 14.0


@dataclass(frozen=True)
class Anatomy:
    """Tissue maps of one healthy head.

    Parameters
    ----------
    name : str
    tissues : uint8 ndarray of shape (len(TISSUES), plane, row, column)
        Share of each tissue in a voxel, 0..255. Planes from inferior to superior, rows towards
        posterior, columns towards left.
    spacing_mm : float
        Edge of the cubic voxels.
    """

    name: str
    tissues: np.ndarray
    spacing_mm: float


def mni152_anatomy(spacing_mm: float = 1.5) -> Anatomy:
    """Average head of MNI152 from nilearn's templates, without skull and scalp."""
    from nilearn.datasets import (
        load_mni152_brain_mask,
        load_mni152_gm_template,
        load_mni152_wm_template,
    )

    maps = []
    for load in (load_mni152_gm_template, load_mni152_wm_template, load_mni152_brain_mask):
        image = load(resolution=1)
        # From x to right, y to anterior, z to superior to our axes.
        array = np.asarray(image.dataobj, np.float32).transpose(2, 1, 0)[:, ::-1, ::-1]
        maps.append(array)
    grey, white, brain = maps
    # The average of many heads is blurred; a steeper slope restores the cortex.
    grey, white = (np.clip((m / m.max() - 0.5) * 3.0 + 0.5, 0, 1) for m in (grey, white))
    inside = brain > 0.5
    total = np.maximum(grey + white, 1.0)
    grey, white = grey / total * inside, white / total * inside
    fluid = np.clip(1.0 - grey - white, 0, 1) * inside
    ventricle = _deep(fluid, inside)
    none = np.zeros_like(grey)
    tissues = np.stack([ventricle, fluid - ventricle, grey, white, none, none])
    return Anatomy("mni152", _resampled(tissues, 1.0, spacing_mm), spacing_mm)


def load_anatomies(folder: Path, spacing_mm: float = 1.5) -> list[Anatomy]:
    """Label maps `brainweb_*.nii.gz` and `synthseg_*.nii.gz` of a folder, sorted by name.

    Raises
    ------
    UserError
        If there is none, or one is invalid.
    """
    return [_read_label_map(path, spacing_mm) for path in _label_maps(folder)]


def anatomy_hashes(folder: Path) -> dict[str, str]:
    """Sha256 of each label map that `load_anatomies` reads, by file name.

    Raises
    ------
    UserError
        If there is none.
    """
    return {path.name: file_sha256(path) for path in _label_maps(folder)}


def _label_maps(folder: Path) -> list[Path]:
    """Paths of all label maps, BrainWeb's first."""
    paths = [*sorted(folder.glob("brainweb_*.nii.gz")), *sorted(folder.glob("synthseg_*.nii.gz"))]
    if not paths:
        raise UserError(
            folder,
            "no label maps",
            "files brainweb_*.nii.gz or synthseg_*.nii.gz",
            "check the path, or omit --anatomy to use MNI152",
        )
    return paths


def _read_label_map(path: Path, spacing_mm: float) -> Anatomy:
    try:
        image = sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")
    except RuntimeError:
        raise _invalid_map(path, "a file that SimpleITK cannot read") from None
    labels = sitk.GetArrayFromImage(image)
    table: Mapping[int, str] = _BRAINWEB
    if path.name.startswith("synthseg"):
        table = _synthseg_table(path.parent / "synthseg_label_index.json")
    shares = {tissue: np.zeros(labels.shape, np.float32) for tissue in TISSUES}
    for value, tissue in table.items():
        shares[tissue][labels == value] = 1.0
    absent = [tissue for tissue in ("grey", "white") if not shares[tissue].any()]
    if absent:
        raise _invalid_map(path, f"no {' and no '.join(absent)} matter")
    tissue_mask = shares["grey"] + shares["white"] + shares["ventricle"] > 0
    brain = _closed_brain(tissue_mask)
    if brain is None:
        raise _invalid_map(path, "only specks of grey and white matter")
    for tissue in TISSUES:
        shares[tissue][~brain if tissue in TISSUES[:BRAIN_TISSUES] else brain] = 0.0
    # Vessels, dura and anything else inside the closed brain count as CSF.
    shares["csf"] = (brain & ~tissue_mask).astype(np.float32)
    if not shares["ventricle"].any():
        shares["ventricle"] = _deep(shares["csf"], brain)
        shares["csf"] = shares["csf"] - shares["ventricle"]
    tissues = np.stack([shares[tissue] for tissue in TISSUES])
    name = path.name.removesuffix(".nii.gz")
    return Anatomy(name, _resampled(tissues, image.GetSpacing()[0], spacing_mm), spacing_mm)


def _invalid_map(path: Path, found: str) -> UserError:
    return UserError(path, found, "a tissue map of a complete head", "remove the file")


def _synthseg_table(path: Path) -> dict[int, str]:
    """SynthSeg's voxel value -> tissue; labels from 500 on are clusters outside the brain."""
    try:
        index: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            path,
            f"an unreadable file ({type(error).__name__})",
            "the FreeSurfer label of each value in the synthseg maps",
            "put the file next to the maps",
        ) from None
    table = {}
    for stored, number in index.items():
        if number in _FREESURFER:
            table[int(stored)] = _FREESURFER[number]
        elif number >= 500:
            table[int(stored)] = "scalp"
    return table


def _closed_brain(tissue: np.ndarray) -> np.ndarray | None:
    """Brain including sulci and ventricles: the largest tissue component, closed; 1 mm voxels.

    None if no component survives the opening.
    """
    opened = ndimage.binary_opening(tissue, iterations=1)
    pieces, count = ndimage.label(opened)
    if count == 0:
        return None
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    brain = pieces == sizes.argmax()
    # The wide closing runs at half resolution, as the outline is smooth anyway. Voxels are averaged
    # in blocks; taking every second voxel would shift the brain by half a voxel.
    even = np.pad(brain, [(0, n % 2) for n in brain.shape])
    planes, rows, columns = (n // 2 for n in even.shape)
    blocks = even.reshape(planes, 2, rows, 2, columns, 2).mean(axis=(1, 3, 5), dtype=np.float32)
    small = np.pad(blocks >= 0.5, 8)
    small = ndimage.binary_closing(small, iterations=5)
    small = np.stack([ndimage.binary_fill_holes(plane) for plane in small])[8:-8, 8:-8, 8:-8]
    large = small.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    large = large[: brain.shape[0], : brain.shape[1], : brain.shape[2]].astype(np.float32)
    return (blur(large, 1.5) > 0.5) | brain


def _deep(fluid: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Ventricular share of fluid (0..1): large components deep inside the brain; 1 mm voxels."""
    depth = ndimage.distance_transform_edt(brain)
    core = ndimage.binary_opening((fluid > 0.5) & (depth > _VENTRICLE_DEPTH_MM))
    pieces, _ = ndimage.label(core)
    large = np.bincount(pieces.ravel()) > 300
    large[0] = False
    return ndimage.binary_dilation(large[pieces], iterations=1) * fluid


def _resampled(tissues: np.ndarray, spacing_mm: float, target_mm: float) -> np.ndarray:
    """Crop maps (tissue, plane, row, column), 0..1, to the head and resample them; uint8 0..255.

    A slight blur gives partial volumes instead of staircase edges.
    """
    head = ndimage.find_objects((tissues.sum(axis=0) > 0.1).astype(int))[0]
    margin = int(np.ceil(12 / spacing_mm))
    padding = [(0, 0), *[(margin, margin)] * 3]
    tissues = np.pad(tissues[(slice(None), *head)], padding)
    sigma = 0.45 * max(target_mm / spacing_mm, 1.0)
    moved = [
        ndimage.zoom(
            blur(tissue, sigma), spacing_mm / target_mm, order=1, grid_mode=True, mode="nearest"
        )
        for tissue in tissues
    ]
    return np.rint(255 * np.clip(np.stack(moved), 0, 1)).astype(np.uint8)
