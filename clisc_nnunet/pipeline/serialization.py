"""Conversion of slices, regions and geometries to and from the arrays of the cache."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from clisc_nnunet.io.volume import Geometry
from clisc_nnunet.stages.slice_extraction import SliceStack


def pack_stack(stack: SliceStack) -> dict[str, np.ndarray]:
    """Slices as plain arrays for the cache."""
    return {
        "pixels": stack.pixels,
        "brain": pack_region(stack.brain),
        "geometry": pack_geometry(stack.geometry),
    }


def unpack_stack(arrays: Mapping[str, np.ndarray]) -> SliceStack:
    """Inverse of `pack_stack`."""
    pixels = arrays["pixels"]
    brain = unpack_region(arrays["brain"], pixels.shape)
    return SliceStack(pixels, brain, unpack_geometry(arrays["geometry"]))


def pack_geometry(geometry: Geometry) -> np.ndarray:
    """A geometry as an array for the cache, containing JSON."""
    return np.array(json.dumps(asdict(geometry)))


def unpack_geometry(packed: np.ndarray) -> Geometry:
    """Inverse of `pack_geometry`."""
    return Geometry(**{key: tuple(value) for key, value in json.loads(str(packed)).items()})


def pack_region(region: np.ndarray) -> np.ndarray:
    """A bool volume as packed bits for the cache, uint8 (n,)."""
    return np.packbits(region)


def unpack_region(packed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Inverse of `pack_region`; `shape` is (plane, row, column)."""
    return np.unpackbits(packed, count=int(np.prod(shape))).reshape(shape).astype(bool)
