"""Before stage 1: the brain of a scan that still has its skull.

Every stage looks at the brain alone. Public datasets come skull-stripped, a hospital's folder does
not; a bundled 3D U-Net, trained on phantom heads, finds the brain there. A scan that is stripped
already keeps the outline it came with.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import binary_fill_holes
from torch import nn

from clisc_nnunet.errors import ScanError, UserError
from clisc_nnunet.io.volume import Geometry, Volume, read_mask, resample, to_axial
from clisc_nnunet.models.brain_unet import BrainModel, load_brain_model
from clisc_nnunet.settings import SliceSettings
from clisc_nnunet.stages.connected_components import large_components
from clisc_nnunet.stages.slice_extraction import brain_mask

# A given brain mask smaller than this is none; it may be a tumour's, which must not be used.
SMALLEST_BRAIN_ML = 150.0

# A scan of which so much is brain has been stripped: in real heads it is half or less, in stripped
# scans nine tenths or more.
STRIPPED_SHARE = 0.7
# What is found must be the size of a brain, or a part of one that the field of view shows.
PLAUSIBLE_ML = (150.0, 2500.0)
# Grey values: the percentile of the foreground that becomes 1, and where they are cut off.
WHITE_PERCENTILE, BRIGHTEST = 95.0, 2.0
# Sides of the network's input: it halves them thrice.
MULTIPLE = 8


def extract_brain(
    scan: Volume, settings: SliceSettings, foreground: np.ndarray | None = None
) -> np.ndarray:
    """Voxels that the stages look at, as the settings want it.

    Parameters
    ----------
    scan : Volume
        On any axes.
    settings : SliceSettings
    foreground : bool ndarray of scan.array's shape, optional
        Voxels that are not background; by default `brain_mask`.

    Returns
    -------
    bool ndarray of the same shape
    """
    inside = brain_mask(scan.array) if foreground is None else foreground
    if settings.brain == "given" or not inside.any():
        return inside
    return find_brain(scan, inside, load_brain_model())


def find_brain(scan: Volume, foreground: np.ndarray, model: BrainModel) -> np.ndarray:
    """The foreground of a stripped scan, or the brain in that of a head; bool as `foreground`."""
    # Background may have any value, its own or a normalisation's: here it is the darkest.
    darkest = float(scan.array[foreground].min())
    axial = to_axial(replace(scan, array=np.where(foreground, scan.array, darkest)))
    inside = to_axial(replace(scan, array=foreground.astype(np.float32)))
    grid = coarse_grid(axial.geometry, model.config.spacing_mm)
    values = scale_head(resample(axial.array, axial.geometry, grid, outside=darkest))
    logits = apply_network(model.module, values)

    coarse = resample(inside.array, axial.geometry, grid) > 0.5
    found = one_piece(logits > 0) & coarse
    stripped = found.sum() >= STRIPPED_SHARE * coarse.sum()
    if stripped or not PLAUSIBLE_ML[0] <= found.sum() * grid.voxel_ml <= PLAUSIBLE_ML[1]:
        return foreground
    # Voxels that the coarse grid does not reach, at the rim, are no brain.
    return one_piece(resample(logits, grid, scan.geometry, outside=-1.0) > 0) & foreground


def one_piece(mask: np.ndarray) -> np.ndarray:
    """Largest component without its holes, bool (plane, row, column) in and out."""
    return binary_fill_holes(large_components(mask, 1.0))


def coarse_grid(geometry: Geometry, spacing_mm: float) -> Geometry:
    """Cubic voxels over the extent of an axial volume."""
    spacing = np.asarray(geometry.spacing)
    extent = np.asarray(geometry.size) * spacing
    size = np.maximum(np.ceil(extent / spacing_mm), 1).astype(int)
    axes = np.asarray(geometry.direction).reshape(3, 3)
    centre = np.asarray(geometry.origin) + axes @ ((np.asarray(geometry.size) - 1) / 2 * spacing)
    x, y, z = (centre - axes @ ((size - 1) / 2 * spacing_mm)).tolist()
    columns, rows, planes = size.tolist()
    return Geometry((columns, rows, planes), (spacing_mm,) * 3, (x, y, z), geometry.direction)


def scale_head(values: np.ndarray) -> np.ndarray:
    """Grey values as the network takes them; float32 of the same shape.

    Parameters
    ----------
    values : float ndarray
        Any shape. The darkest voxel becomes 0, the 95th percentile of what is not nearly as dark 1.
    """
    shifted = values - values.min()
    bright = shifted[shifted > 0.1 * np.percentile(shifted, 99)]
    white = np.percentile(bright, WHITE_PERCENTILE) if len(bright) else 1.0
    return np.clip(shifted / max(white, 1e-6), 0, BRIGHTEST).astype(np.float32)


@torch.inference_mode()
def apply_network(module: nn.Module, values: np.ndarray) -> np.ndarray:
    """Logits, float32, of a scaled volume (plane, row, column), padded for the network."""
    # At least two voxels are left at the coarsest stage, which instance normalisation needs.
    padding = [(0, max(-n % MULTIPLE, 2 * MULTIPLE - n)) for n in values.shape]
    padded = torch.from_numpy(np.pad(values, padding))[None, None]
    logits = module(padded)[0, 0].numpy()
    return logits[tuple(slice(0, n) for n in values.shape)]


def check_brain_masks(folder: Path | None) -> None:
    """Refuse a folder of brain masks that is not there; None is for none.

    Raises
    ------
    UserError
    """
    if folder is not None and not folder.is_dir():
        raise UserError(folder, "no such folder", "brain masks", "check the path")


def read_brain_mask(path: Path, scan: Geometry) -> np.ndarray:
    """Brain that somebody else has found: voxels above 0, bool (plane, row, column).

    Raises
    ------
    ScanError
        If the file cannot be read, lies on other voxels than the scan, or is too small for a brain.
    """
    mask = read_mask(path, scan)
    found_ml = float(mask.sum()) * scan.voxel_ml
    if found_ml < SMALLEST_BRAIN_ML:
        raise ScanError(
            path,
            f"a mask of {found_ml:.1f} ml",
            f"a brain, {SMALLEST_BRAIN_ML:.0f} ml or more",
            "give masks of the whole brain, not of a part or a tumour",
        )
    return mask
