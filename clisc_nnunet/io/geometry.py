"""Geometry of a voxel grid in patient space: pure arithmetic, no files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

# Axes that deviate more than this from right angles are orthogonalised: ITK's NIfTI reader, which
# nnU-Net uses, rejects them.
_ORTHOGONAL = 1e-4
# Geometries that place voxels less than this share of a voxel apart differ by rounding.
_ROUNDING = 0.5


@dataclass(frozen=True)
class Geometry:
    """Voxel grid of a volume in patient space (LPS).

    Parameters
    ----------
    size : tuple of 3 int
        Number of columns, rows and planes.
    spacing, origin : tuple of 3 float
        Millimetres, (x, y, z).
    direction : tuple of 9 float
        Direction cosines, row-major, as in SimpleITK.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the array: (plane, row, column)."""
        return self.size[2], self.size[1], self.size[0]

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in millilitres."""
        return float(np.prod(self.spacing)) / 1000.0

    @property
    def axes(self) -> np.ndarray:
        """Unit vectors along columns, rows and planes, as the columns of a (3, 3) array."""
        return np.asarray(self.direction, float).reshape(3, 3)


def geometry_of_steps(size: Sequence[int], steps: np.ndarray, origin: np.ndarray) -> Geometry:
    """Geometry from the vectors to the next column, row and plane.

    Parameters
    ----------
    size : sequence of 3 int
        Number of columns, rows and planes.
    steps : float ndarray of shape (3, 3)
        The vectors as columns, non-zero, in millimetres, LPS.
    origin : float ndarray of shape (3,)
        Position of the first voxel in millimetres, LPS.
    """
    lengths = np.linalg.norm(steps, axis=0)
    columns, rows, planes = (int(n) for n in size)
    dx, dy, dz = lengths.tolist()
    x, y, z = origin.tolist()
    direction = tuple((steps / lengths).ravel().tolist())
    return Geometry((columns, rows, planes), (dx, dy, dz), (x, y, z), direction)


def geometry_of_image(image: Any) -> Geometry:
    """Geometry of a 3D SimpleITK image or ImageFileReader."""
    return Geometry(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def same_grid(first: Geometry, second: Geometry) -> bool:
    """Whether two volumes have the same voxel grid, to about a micrometre."""
    return first.size == second.size and all(
        np.allclose(a, b, atol=1e-3)
        for a, b in (
            (first.spacing, second.spacing),
            (first.origin, second.origin),
            (first.direction, second.direction),
        )
    )


def farthest_mm(first: Geometry, second: Geometry) -> float:
    """Largest distance between the positions that two geometries give to one voxel, in millimetres.

    It is reached at a corner; both must have the same size.
    """
    corners = np.array(list(product(*((0, n - 1) for n in first.size)))).T
    places = [
        (one.axes * one.spacing) @ corners + np.reshape(one.origin, (3, 1))
        for one in (first, second)
    ]
    return float(np.linalg.norm(places[0] - places[1], axis=0).max())


def is_far(first: Geometry, second: Geometry) -> bool:
    """Whether two geometries place a voxel further apart than rounding in a header explains."""
    return farthest_mm(first, second) > _ROUNDING * min(*first.spacing, *second.spacing)


def max_skew_degrees(geometry: Geometry) -> float:
    """Largest deviation of two axes from a right angle, in degrees; 90 if two axes coincide."""
    cosines = geometry.axes.T @ geometry.axes
    worst = np.abs(cosines[np.triu_indices(3, 1)]).max()
    return float(np.degrees(np.arcsin(min(worst, 1.0))))


def is_orthogonal(geometry: Geometry) -> bool:
    """Whether the axes are unit vectors at right angles."""
    return bool(np.allclose(geometry.axes.T @ geometry.axes, np.eye(3), atol=_ORTHOGONAL))


def orthogonalised(geometry: Geometry) -> Geometry:
    """The nearest geometry with orthogonal axes, with the same spacing and centre.

    Notes
    -----
    The nearest rotation (or reflection) U V^T comes from the singular values of the axes,
    A = U S V^T.
    """
    left, _, right = np.linalg.svd(geometry.axes)
    axes = left @ right
    middle = (np.array(geometry.size) - 1) / 2 * geometry.spacing
    x, y, z = (np.array(geometry.origin) + (geometry.axes - axes) @ middle).tolist()
    return Geometry(geometry.size, geometry.spacing, (x, y, z), tuple(axes.ravel().tolist()))


def smoothing_sigma(source: Geometry, target: Geometry) -> np.ndarray:
    """Gaussian that blurs source voxels to the resolution of a coarser target.

    Parameters
    ----------
    source, target : Geometry
        In any relative orientation.

    Returns
    -------
    float ndarray of shape (3,)
        Millimetres along the source's own axes (x, y, z); 0 where the target is not coarser.

    Notes
    -----
    A voxel is approximated by a Gaussian with a sigma of 0.4 times its spacing. Along source axis
    i, a target voxel has the variance sum_j R_ij^2 (0.4 t_j)^2, where R are the target's axes in
    source coordinates; the axes may differ in order and direction.
    """
    rotation = (source.axes.T @ target.axes) ** 2
    wanted = rotation @ np.square(target.spacing)
    own = np.square(source.spacing)
    coarser = wanted > 1.05**2 * own
    return np.where(coarser, 0.4 * np.sqrt(np.maximum(wanted - own, 0.0)), 0.0)


def grid_text(geometry: Geometry) -> str:
    """Geometry for messages."""
    size, spacing, origin = (
        " x ".join(f"{value:.6g}" for value in values)
        for values in (geometry.size, geometry.spacing, geometry.origin)
    )
    return f"{size} voxels of {spacing} mm at {origin}"
