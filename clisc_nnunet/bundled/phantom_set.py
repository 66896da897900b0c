"""The phantoms that the bundled models are trained on: made once, kept as 8-bit volumes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from clisc_nnunet.errors import UserError
from clisc_nnunet.phantoms.anatomy import Anatomy
from clisc_nnunet.phantoms.phantom import make_phantom
from clisc_nnunet.phantoms.settings import PhantomSettings
from clisc_nnunet.settings import SliceSettings
from clisc_nnunet.slices import make_slices
from clisc_nnunet.volume import Volume, resample

# Seeds of the phantoms that models are chosen on; training uses those below. The first are drawn as
# training's are, on other anatomies; the second are of kinds that training never draws.
HELD_OUT_SEEDS = range(900_000, 900_032)
UNSEEN_SEEDS = range(950_000, 950_016)


@dataclass(frozen=True)
class TrainingVolume:
    """One phantom as the pipeline sees it.

    Parameters
    ----------
    pixels : uint8 ndarray of shape (plane, row, column)
        From `make_slices`.
    tumour : bool ndarray of the same shape
    """

    pixels: np.ndarray
    tumour: np.ndarray


def training_volume(
    seed: int, anatomies: Sequence[Anatomy], settings: PhantomSettings
) -> TrainingVolume:
    """Make one phantom and cut it as the pipeline cuts a scan."""
    phantom = make_phantom(seed, anatomies, settings)
    geometry = phantom.geometry
    stack = make_slices(Volume(phantom.flair, geometry), SliceSettings(), phantom.flair > 0)
    tumour = resample(phantom.tumour.astype(np.float32), geometry, stack.geometry) > 0.5
    return TrainingVolume(stack.pixels, tumour)


def make_phantom_set(
    folder: Path,
    seeds: Iterable[int],
    anatomies: Sequence[Anatomy],
    settings: PhantomSettings,
    processes: int,
) -> None:
    """Make the phantoms that the folder lacks, one file per seed, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    todo = [seed for seed in seeds if not _path(folder, seed).exists()]
    # The anatomies are large: each process gets them once, not with each phantom.
    with ProcessPoolExecutor(
        processes,
        mp_context=get_context("spawn"),
        initializer=_remember,
        initargs=(folder, anatomies, settings),
    ) as pool:
        jobs = [pool.submit(_make_file, seed) for seed in todo]
        for job in tqdm(as_completed(jobs), total=len(jobs), desc="phantoms"):
            job.result()


def load_phantom_set(folder: Path, seeds: Iterable[int] | None = None) -> list[TrainingVolume]:
    """Read phantoms of a folder, all of them or those of the given seeds, in order of seed."""
    paths = (
        sorted(folder.glob("phantom_*.npz"))
        if seeds is None
        else [_path(folder, seed) for seed in seeds]
    )
    absent = [path.name for path in paths if not path.exists()]
    if absent or not paths:
        raise UserError(
            folder,
            f"no {absent[0]}" if absent else "no phantoms",
            "files phantom_*.npz",
            "make them with `python -m clisc_nnunet.bundled.train phantoms`",
        )
    return [_read(path) for path in paths]


def _path(folder: Path, seed: int) -> Path:
    return folder / f"phantom_{seed:06d}.npz"


def _read(path: Path) -> TrainingVolume:
    with np.load(path) as arrays:
        shape = arrays["pixels"].shape
        tumour = np.unpackbits(arrays["tumour"], count=int(np.prod(shape))).reshape(shape)
        return TrainingVolume(arrays["pixels"], tumour.astype(bool))


_worker: dict[str, Any] = {}


def _remember(folder: Path, anatomies: Sequence[Anatomy], settings: PhantomSettings) -> None:
    _worker.update(folder=folder, anatomies=anatomies, settings=settings)


def _make_file(seed: int) -> None:
    volume = training_volume(seed, _worker["anatomies"], _worker["settings"])
    path = _path(_worker["folder"], seed)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    np.savez_compressed(temporary, pixels=volume.pixels, tumour=np.packbits(volume.tumour))
    os.replace(temporary, path)
