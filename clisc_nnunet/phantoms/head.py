"""Geometry of a phantom's head: random rotation, scaling and warping of an anatomy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from clisc_nnunet.phantoms.anatomy import Anatomy
from clisc_nnunet.phantoms.random_fields import smooth_noise
from clisc_nnunet.phantoms.settings import HeadSettings


@dataclass(frozen=True)
class Grid:
    """Voxel positions of a phantom in mm from the centre, float32 (plane, row, column, 3)."""

    positions: np.ndarray
    spacing_mm: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """(plane, row, column)."""
        return self.positions.shape[:3]


def make_grid(anatomy: Anatomy) -> Grid:
    """Grid of an anatomy."""
    axes = [(np.arange(n) - (n - 1) / 2) * anatomy.spacing_mm for n in anatomy.tissues.shape[1:]]
    mesh = np.meshgrid(*(axis.astype(np.float32) for axis in axes), indexing="ij")
    return Grid(np.stack(mesh, axis=-1), anatomy.spacing_mm)


def warped_positions(grid: Grid, settings: HeadSettings, rng: np.random.Generator) -> np.ndarray:
    """Position in the anatomy of each voxel of the phantom, mm, float32 (plane, row, column, 3)."""
    angles = np.deg2rad(rng.uniform(-settings.rotation_degrees, settings.rotation_degrees, 3))
    scale = rng.uniform(*settings.scale) * rng.uniform(*settings.axis_scale, 3)
    matrix = rotation(angles) @ np.diag(1 / scale)
    if rng.random() < 0.5:
        matrix = np.diag([1.0, 1.0, -1.0]) @ matrix  # left-right flip
    moved = grid.positions @ matrix.T.astype(np.float32)
    moved = moved + rng.uniform(-3, 3, 3).astype(np.float32)
    amplitude = rng.uniform(*settings.warp_mm)
    for axis in range(3):
        moved[..., axis] += amplitude * smooth_noise(grid.shape, 6, rng)
    return moved


def rotation(angles: np.ndarray) -> np.ndarray:
    """Rotation matrix, (3, 3), about the three axes in sequence; angles in radians."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        first, second = [a for a in range(3) if a != axis]
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix


def sample_tissues(anatomy: Anatomy, positions: np.ndarray) -> np.ndarray:
    """Tissue maps at positions in mm; float32 (tissue, plane, row, column) in 0..1."""
    half = (np.array(anatomy.tissues.shape[1:]) - 1) / 2 * anatomy.spacing_mm
    # grid_sample expects (x, y, z) in -1..1.
    where = torch.from_numpy((positions / half.astype(np.float32))[..., ::-1].copy())
    maps = torch.from_numpy(anatomy.tissues).float()
    moved = F.grid_sample(maps[None] / 255, where[None], align_corners=True)
    return moved[0].numpy()
