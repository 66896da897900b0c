"""Stage 0: brain masks, by the bundled extractor or from files.

All stages are restricted to the brain. Public datasets are skull-stripped, clinical scans are not:
there the bundled 3D U-Net, trained on phantom heads, segments the brain. Scans that are already
skull-stripped keep their own outline.
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
from clisc_nnunet.stages.slice_extraction import foreground_mask

# Given masks smaller than this are not brains; tumour masks must not be used.
SMALLEST_BRAIN_ML = 150.0

# Share of brain in the foreground from which a scan counts as skull-stripped: at most a half in
# real heads, at least nine tenths in stripped scans.
STRIPPED_SHARE = 0.7
# Plausible volumes of a brain, or of its part in the field of view.
PLAUSIBLE_ML = (150.0, 2500.0)
# Intensity scaling: percentile of the foreground that becomes 1, and the clipping limit.
WHITE_PERCENTILE, BRIGHTEST = 95.0, 2.0
# The network halves its input three times, so sides are multiples of this.
MULTIPLE = 8


def extract_brain(
    scan: Volume, settings: SliceSettings, foreground: np.ndarray | None = None
) -> np.ndarray:
    """Brain voxels of a scan: extracted, or all foreground, depending on the settings.

    Parameters
    ----------
    scan : Volume
        In any orientation.
    settings : SliceSettings
    foreground : bool ndarray of scan.array's shape, optional
        Voxels that are not background; by default `foreground_mask(scan.array)`.

    Returns
    -------
    bool ndarray of the same shape
    """
    inside = foreground_mask(scan.array) if foreground is None else foreground
    if settings.brain == "given" or not inside.any():
        return inside
    return find_brain(scan, inside, load_brain_model())


def find_brain(scan: Volume, foreground: np.ndarray, model: BrainModel) -> np.ndarray:
    """Segment the brain in the foreground of a scan.

    Parameters
    ----------
    scan : Volume
        In any orientation.
    foreground : bool ndarray of shape (plane, row, column)
        Voxels that are not background.
    model : BrainModel

    Returns
    -------
    bool ndarray of the same shape
        The foreground itself if the scan is skull-stripped or the result is not plausible.
    """
    # Background may have any value; set it to the darkest value of the foreground.
    darkest = float(scan.array[foreground].min())
    axial = to_axial(replace(scan, array=np.where(foreground, scan.array, darkest)))
    inside = to_axial(replace(scan, array=foreground.astype(np.float32)))
    grid = coarse_grid(axial.geometry, model.config.spacing_mm)
    values = scale_head(resample(axial.array, axial.geometry, grid, outside=darkest))
    logits = apply_network(model.module, values)

    coarse = resample(inside.array, axial.geometry, grid) > 0.5
    found = _single_component(logits > 0) & coarse
    stripped = found.sum() >= STRIPPED_SHARE * coarse.sum()
    if stripped or not PLAUSIBLE_ML[0] <= found.sum() * grid.voxel_ml <= PLAUSIBLE_ML[1]:
        return foreground
    # Voxels at the rim that the coarse grid does not cover are not brain.
    return _single_component(resample(logits, grid, scan.geometry, outside=-1.0) > 0) & foreground


def check_brain_masks(folder: Path | None) -> None:
    """Check that the folder of brain masks exists, if one is given.

    Raises
    ------
    UserError
        If it does not.
    """
    if folder is not None and not folder.is_dir():
        raise UserError(folder, "no such folder", "brain masks", "check the path")


def read_brain_mask(path: Path, scan: Geometry) -> np.ndarray:
    """Read a given brain mask: voxels above 0, bool (plane, row, column).

    Raises
    ------
    ScanError
        If the file cannot be read, has another grid than the scan, or is too small for a brain.
    """
    mask = read_mask(path, scan)
    found_ml = float(mask.sum()) * scan.voxel_ml
    if found_ml < SMALLEST_BRAIN_ML:
        raise ScanError(
            path,
            f"a mask of {found_ml:.1f} ml",
            f"a brain, {SMALLEST_BRAIN_ML:.0f} ml or more",
            "give masks of the complete brain, not of a part or a tumour",
        )
    return mask


def coarse_grid(geometry: Geometry, spacing_mm: float) -> Geometry:
    """Grid of cubic voxels that covers an axial volume, with the same centre and axes."""
    spacing = np.asarray(geometry.spacing)
    extent = np.asarray(geometry.size) * spacing
    size = np.maximum(np.ceil(extent / spacing_mm), 1).astype(int)
    axes = np.asarray(geometry.direction).reshape(3, 3)
    centre = np.asarray(geometry.origin) + axes @ ((np.asarray(geometry.size) - 1) / 2 * spacing)
    x, y, z = (centre - axes @ ((size - 1) / 2 * spacing_mm)).tolist()
    columns, rows, planes = size.tolist()
    return Geometry((columns, rows, planes), (spacing_mm,) * 3, (x, y, z), geometry.direction)


def scale_head(values: np.ndarray) -> np.ndarray:
    """Scale intensities for the network; float32 of the same shape.

    Parameters
    ----------
    values : float ndarray
        Any shape. The minimum becomes 0, the 95th percentile of clearly brighter voxels becomes 1.
    """
    shifted = values - values.min()
    bright = shifted[shifted > 0.1 * np.percentile(shifted, 99)]
    white = np.percentile(bright, WHITE_PERCENTILE) if len(bright) else 1.0
    return np.clip(shifted / max(white, 1e-6), 0, BRIGHTEST).astype(np.float32)


@torch.inference_mode()
def apply_network(module: nn.Module, values: np.ndarray) -> np.ndarray:
    """Logits, float32, of a scaled volume (plane, row, column), which is padded for the network."""
    # Instance normalisation needs at least two voxels at the coarsest level.
    padding = [(0, max(-n % MULTIPLE, 2 * MULTIPLE - n)) for n in values.shape]
    padded = torch.from_numpy(np.pad(values, padding))[None, None]
    logits = module(padded)[0, 0].numpy()
    return logits[tuple(slice(0, n) for n in values.shape)]


def _single_component(mask: np.ndarray) -> np.ndarray:
    """Largest component with holes filled, bool (plane, row, column) in and out."""
    return binary_fill_holes(large_components(mask, 1.0))
