"""The geometry that a NIfTI header states, where its qform, sform and pixdim may disagree.

ITK, nibabel and other readers choose between them in silence, each in its own way. The rule here:

1. If qform and sform agree to half a voxel, either is right.
2. Otherwise the sform is used if its axes are at right angles and it is in scanner coordinates
   (code 1), else the qform: ITK's choice, and so that of nnU-Net's reader.
3. Before that, a form with a spacing of exactly 1 mm along all axes, which is what nobody filled
   in, gives way to one with another spacing. The qform's spacing is pixdim.
4. If the sform is used, its spacing is the length of its columns; a lone sform of 1 mm has that of
   pixdim. ITK takes pixdim for every sform.

NIfTI's coordinates are RAS, those here LPS. Units of metres and micrometres are converted, as ITK
does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from nibabel.quaternions import quat2mat

from clisc_nnunet.io.geometry import (
    Geometry,
    farthest_mm,
    geometry_of_steps,
    is_far,
    is_orthogonal,
)

# From the RAS of NIfTI and MGH.
TO_LPS = np.diag([-1.0, -1.0, 1.0])
_SCANNER = 1
_MM_PER_UNIT = {1: 1000.0, 3: 0.001}  # of xyzt_units
# Below it, the first component of a quaternion is rounding, and nifti_clib sets it to 0.
_QUATERNION_ROUNDING = 1e-7


@dataclass(frozen=True)
class StatedGeometry:
    """What a NIfTI header says about its voxels' positions.

    Parameters
    ----------
    geometry : Geometry
        By the rule above; its axes may not be at right angles.
    conflict : str
        How the header contradicts itself and what was used; empty if it does not.
    """

    geometry: Geometry
    conflict: str = ""


def stated_geometry(header: Any, size: tuple[int, int, int]) -> StatedGeometry | None:
    """Apply the rule to a nibabel NIfTI header.

    Parameters
    ----------
    header : nibabel Nifti1Header or Nifti2Header
        With finite numbers and positive spacings.
    size : tuple of 3 int
        Number of columns, rows and planes.

    Returns
    -------
    StatedGeometry or None
        None if the header states no orientation, or only an sform without a volume.
    """
    qform, sform = _qform(header, size), _sform(header, size)
    if sform is None:
        return None if qform is None else StatedGeometry(qform)
    if qform is None:
        return _with_spacing(sform, _spacing(header))
    if not is_far(qform, sform):
        return StatedGeometry(qform)
    apart = f"header: qform and sform place voxels up to {farthest_mm(qform, sform):.3g} mm apart; "
    if not is_orthogonal(sform):
        return StatedGeometry(qform, apart + "the qform was used, whose axes are at right angles")
    if _is_unset(qform.spacing) != _is_unset(sform.spacing):
        used, name = (sform, "sform") if _is_unset(qform.spacing) else (qform, "qform")
        return StatedGeometry(
            used, f"{apart}the {name} was used, with its spacing of {_mm(used.spacing)}"
        )
    if int(header["sform_code"]) != _SCANNER:
        return StatedGeometry(
            qform, apart + "the qform was used, since the sform is not in scanner coordinates"
        )
    return StatedGeometry(sform, apart + "the sform was used, in scanner coordinates")


def unoriented_geometry(header: Any, size: tuple[int, int, int]) -> Geometry:
    """Geometry of a header without an orientation: the spacing alone, as ITK reads it."""
    return geometry_of_steps(size, np.diag(_spacing(header)), np.zeros(3))


def _with_spacing(sform: Geometry, pixdim: np.ndarray) -> StatedGeometry:
    """A lone sform, with the spacing of pixdim if its own was never set."""
    by_pixdim = geometry_of_steps(sform.size, sform.axes * pixdim, np.array(sform.origin))
    if not is_far(sform, by_pixdim):
        return StatedGeometry(sform)
    used = by_pixdim if _is_unset(sform.spacing) else sform
    return StatedGeometry(
        used,
        f"header: a spacing of {_mm(pixdim)} in pixdim, and of {_mm(sform.spacing)} in the sform; "
        f"that of {'pixdim' if used is by_pixdim else 'the sform'} was used",
    )


def _qform(header: Any, size: tuple[int, int, int]) -> Geometry | None:
    if int(header["qform_code"]) <= 0:
        return None
    vector = np.array([float(header[f"quatern_{axis}"]) for axis in "bcd"])
    square = float(vector @ vector)
    first = 1.0 - square
    if first < _QUATERNION_ROUNDING:
        quaternion = np.array([0.0, *(vector / np.sqrt(square))])
    else:
        quaternion = np.array([np.sqrt(first), *vector])
    steps = quat2mat(quaternion) * _spacing(header)
    if float(header["pixdim"][0]) < 0:
        steps[:, 2] *= -1
    offset = np.array([float(header[f"qoffset_{axis}"]) for axis in "xyz"]) * _scale(header)
    return geometry_of_steps(size, TO_LPS @ steps, TO_LPS @ offset)


def _sform(header: Any, size: tuple[int, int, int]) -> Geometry | None:
    if int(header["sform_code"]) <= 0:
        return None
    rows = np.stack([header[f"srow_{axis}"] for axis in "xyz"]).astype(float) * _scale(header)
    if not np.linalg.norm(rows[:, :3], axis=0).all():
        return None
    return geometry_of_steps(size, TO_LPS @ rows[:, :3], TO_LPS @ rows[:, 3])


def _spacing(header: Any) -> np.ndarray:
    """Spacing of pixdim in millimetres, float (3,)."""
    return _scale(header) * header["pixdim"][1:4].astype(float)


def _scale(header: Any) -> float:
    return _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)


def _is_unset(spacing: Any) -> bool:
    return bool(np.allclose(spacing, 1.0, atol=1e-6))


def _mm(spacing: Any) -> str:
    return f"{' x '.join(f'{value:.4g}' for value in spacing)} mm"
