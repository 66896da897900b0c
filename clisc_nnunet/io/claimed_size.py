"""Sizes that a header claims, checked before memory is taken for them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from clisc_nnunet.errors import ScanError

# Largest volume that is read: 1024 x 1024 x 512 voxels, 2 GB as float32.
MAX_VOXELS = 1 << 29
# Longest side in millimetres. Resampled to the 2 mm of brain extraction, a longer one would take
# gigabytes; a head has 300 mm.
MAX_EXTENT_MM = 1000.0
# Deflate compresses a byte to no less than 1/1032.
GZIP_RATIO = 1032


def check_voxels(source: object, size: Sequence[int]) -> None:
    """Check the number of voxels that a header claims.

    Raises
    ------
    ScanError
        If they are more than `MAX_VOXELS`.
    """
    if math.prod(size) > MAX_VOXELS:
        raise ScanError(
            source,
            f"a header that claims {' x '.join(map(str, size))} voxels",
            f"{MAX_VOXELS} voxels or fewer",
            "export the scan again, or resample it",
        )


def check_bytes(source: object, needed: int, available: float) -> None:
    """Check the bytes that a header claims against those that its file can contain at most.

    Raises
    ------
    ScanError
        If there are too few.
    """
    if needed > available:
        raise ScanError(
            source,
            f"a file that cannot be read (it is too small for the {needed} bytes it claims)",
            "a complete volume",
            "copy or export it again",
        )


def check_extent(source: object, size: Sequence[int], spacing: Sequence[float]) -> None:
    """Check the sides of a volume in millimetres.

    Raises
    ------
    ScanError
        If one is longer than `MAX_EXTENT_MM`.
    """
    sides = [n * mm for n, mm in zip(size, spacing, strict=True)]
    if max(sides) > MAX_EXTENT_MM:
        raise ScanError(
            source,
            f"a volume of {' x '.join(f'{side:.0f}' for side in sides)} mm",
            f"sides of {MAX_EXTENT_MM:.0f} mm or less",
            "fix the spacing in the header",
        )
