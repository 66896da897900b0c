"""Conversion of slices, regions and geometries to and from the arrays of the cache."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from clisc_nnunet.io.volume import (
    Geometry,
)
from clisc_nnunet.stages.slice_extraction import SliceStack


def pack_stack(stack: SliceStack) -> dict[str, np.ndarray]:
    """Slices as plain arrays for the cache."""
    return {
        "pixels": stack.pixels,
        "brain": np.packbits(stack.brain),
        "geometry": pack_geometry(stack.geometry),
    }


def unpack_stack(arrays: Mapping[str, np.ndarray]) -> SliceStack:
    """Inverse of `pack_stack`."""
    pixels = arrays["pixels"]
    brain = np.unpackbits(arrays["brain"], count=pixels.size).reshape(pixels.shape).astype(bool)
    return SliceStack(pixels, brain, unpack_geometry(arrays["geometry"]))


def pack_geometry(geometry: Geometry) -> np.ndarray:
    """A geometry as an array for the cache, containing JSON."""
    return np.array(json.dumps(asdict(geometry)))


def unpack_geometry(packed: np.ndarray) -> Geometry:
    """Inverse of `pack_geometry`."""
    return Geometry(**{key: tuple(value) for key, value in json.loads(str(packed)).items()})


def unpack_region(packed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Region of interest, bool (plane, row, column), from the packed bits of the cache."""
    return np.unpackbits(packed, count=int(np.prod(shape))).reshape(shape).astype(bool)
