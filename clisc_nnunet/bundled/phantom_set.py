"""Phantoms for training the bundled models, stored as 8-bit volumes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from clisc_nnunet.errors import UserError
from clisc_nnunet.io.atomic_write import atomic_file, write_text
from clisc_nnunet.io.volume import Volume, resample
from clisc_nnunet.phantoms.anatomy import Anatomy, anatomy_hashes
from clisc_nnunet.phantoms.phantom import GENERATOR_VERSION, make_phantom
from clisc_nnunet.phantoms.settings import PhantomSettings, as_record
from clisc_nnunet.provenance import differences, found_and_expected
from clisc_nnunet.settings import SliceSettings
from clisc_nnunet.stages.brain_extraction import scale_head
from clisc_nnunet.stages.slice_extraction import make_slices

RECIPE_FILE = "recipe.json"
# Key of the recipe of the held-out phantoms.
HELD_OUT_KEY = "kept_aside"
Kind = Literal["phantom", "head"]

# Seeds of held-out phantoms; training uses smaller seeds. HELD_OUT_SEEDS: same distribution as in
# training, but other anatomies. UNSEEN_SEEDS: kinds of tumours that do not occur in training.
HELD_OUT_SEEDS = range(900_000, 900_032)
UNSEEN_SEEDS = range(950_000, 950_016)
HELD_OUT_HEADS = range(900_000, 900_016)


@dataclass(frozen=True)
class TrainingVolume:
    """A phantom as slices of the pipeline.

    Parameters
    ----------
    pixels : uint8 ndarray of shape (plane, row, column)
        From `make_slices`.
    tumour : bool ndarray of the same shape
    """

    pixels: np.ndarray
    tumour: np.ndarray


@dataclass(frozen=True)
class TrainingHead:
    """A phantom as input of the brain extractor.

    Parameters
    ----------
    values : uint8 ndarray of shape (plane, row, column)
        From `scale_head`, multiplied by 100.
    brain : bool ndarray of the same shape
    """

    values: np.ndarray
    brain: np.ndarray


def training_volume(
    seed: int, anatomies: Sequence[Anatomy], settings: PhantomSettings
) -> TrainingVolume:
    """Make a phantom and extract its slices as in the pipeline."""
    phantom = make_phantom(seed, anatomies, settings)
    geometry = phantom.geometry
    stack = make_slices(Volume(phantom.flair, geometry), SliceSettings(), phantom.flair > 0)
    tumour = resample(phantom.tumour.astype(np.float32), geometry, stack.geometry) > 0.5
    return TrainingVolume(stack.pixels, tumour)


def training_head(
    seed: int, anatomies: Sequence[Anatomy], settings: PhantomSettings
) -> TrainingHead:
    """Make a phantom and scale its intensities; anatomies must have the extractor's spacing."""
    phantom = make_phantom(seed, anatomies, settings)
    return TrainingHead(np.rint(100 * scale_head(phantom.flair)).astype(np.uint8), phantom.brain)


def make_phantom_set(
    folder: Path,
    seeds: Iterable[int],
    anatomies: Sequence[Anatomy],
    settings: PhantomSettings,
    processes: int,
    kind: Kind = "phantom",
) -> None:
    """Make the phantoms that are missing in the folder; one file per seed, written atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    todo = [seed for seed in seeds if not _path(folder, seed, kind).exists()]
    # The anatomies are large, so they are sent once per process, not once per phantom.
    with ProcessPoolExecutor(
        processes,
        mp_context=get_context("spawn"),
        initializer=_init_worker,
        initargs=(folder, anatomies, settings, kind),
    ) as pool:
        jobs = [pool.submit(_make_file, seed) for seed in todo]
        for job in tqdm(as_completed(jobs), total=len(jobs), desc=f"{kind}s"):
            job.result()


def make_recipe(anatomy: Path | None, settings: Sequence[PhantomSettings]) -> dict[str, Any]:
    """Recipe of phantoms: hashes of label maps and settings, version of the drawing code.

    Raises
    ------
    UserError
        If `anatomy` contains no label maps.
    """
    return {
        "anatomies": anatomy_hashes(anatomy) if anatomy else "MNI152, as nilearn ships it",
        "phantom_settings_sha256": sha256(
            json.dumps([as_record(s) for s in settings], sort_keys=True).encode()
        ).hexdigest(),
        "drawing": GENERATOR_VERSION,
    }


def record_recipe(folder: Path, recipe: dict[str, Any], *, training: bool) -> None:
    """Write the recipe of phantoms to their folder; call it before making them.

    Held-out phantoms may have another recipe, stored under a separate key.

    Parameters
    ----------
    folder : Path
    recipe : dict
        From `make_recipe`.
    training : bool
        Whether training phantoms will be made, too.

    Raises
    ------
    UserError
        If existing phantoms have another recipe; nothing is written then.
    """
    recorded = read_recipe(folder)
    held_out = recorded.pop(HELD_OUT_KEY, {})
    if training:
        # Without training phantoms, the recipe may change: an earlier call was interrupted.
        if _training_files(folder, "phantom") or _training_files(folder, "head"):
            _check_same_recipe(folder, "training phantoms", recorded, recipe)
        recorded = recipe
    kept = [
        _path(folder, seed, "phantom").exists() for seed in (*HELD_OUT_SEEDS, *UNSEEN_SEEDS)
    ] + [_path(folder, seed, "head").exists() for seed in HELD_OUT_HEADS]
    if not all(kept):
        if any(kept):
            _check_same_recipe(folder, "held-out phantoms", held_out, recipe)
        held_out = recipe
    recorded = {**recorded, HELD_OUT_KEY: held_out} if held_out else recorded
    write_text(folder / RECIPE_FILE, json.dumps(recorded, indent=1) + "\n")


def _check_same_recipe(
    folder: Path, what: str, recorded: dict[str, Any], recipe: dict[str, Any]
) -> None:
    found, expected = found_and_expected(differences(recorded, recipe))
    if found:
        raise UserError(
            folder, f"{what}: {found}", expected, "choose another -o, or use the same --anatomy"
        )


def read_recipe(folder: Path) -> dict[str, Any]:
    """Recipe written by `record_recipe`; empty if there is none."""
    path = folder / RECIPE_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def load_volumes(folder: Path, seeds: Iterable[int] | None = None) -> list[TrainingVolume]:
    """Read phantoms, sorted by seed: those of the given seeds, or all training phantoms."""
    return [TrainingVolume(*arrays) for arrays in _read_all(folder, seeds, "phantom")]


def load_heads(folder: Path, seeds: Iterable[int] | None = None) -> list[TrainingHead]:
    """Read heads, sorted by seed: those of the given seeds, or all training heads."""
    return [TrainingHead(*arrays) for arrays in _read_all(folder, seeds, "head")]


def _read_all(
    folder: Path, seeds: Iterable[int] | None, kind: Kind
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if seeds is None:
        paths = _training_files(folder, kind)
    else:
        paths = [_path(folder, seed, kind) for seed in seeds]
    absent = [path.name for path in paths if not path.exists()]
    if absent or not paths:
        raise UserError(
            folder,
            f"no {absent[0]}" if absent else f"no {kind}s",
            f"files {kind}_*.npz",
            "make them with `python -m clisc_nnunet.bundled.train phantoms`",
        )
    return map(_read, paths)


def _training_files(folder: Path, kind: Kind) -> list[Path]:
    first_held_out = _path(folder, HELD_OUT_SEEDS.start, kind)
    return [p for p in sorted(folder.glob(f"{kind}_*.npz")) if p < first_held_out]


def _path(folder: Path, seed: int, kind: Kind) -> Path:
    return folder / f"{kind}_{seed:06d}.npz"


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path) as arrays:
        grey, packed = (arrays[name] for name in arrays.files)
    mask = np.unpackbits(packed, count=grey.size).reshape(grey.shape)
    return grey, mask.astype(bool)


_worker: dict[str, Any] = {}


def _init_worker(
    folder: Path, anatomies: Sequence[Anatomy], settings: PhantomSettings, kind: Kind
) -> None:
    _worker.update(folder=folder, anatomies=anatomies, settings=settings, kind=kind)


def _make_file(seed: int) -> None:
    anatomies, settings = _worker["anatomies"], _worker["settings"]
    path = _path(_worker["folder"], seed, _worker["kind"])
    arrays: dict[str, Any]
    if _worker["kind"] == "head":
        head = training_head(seed, anatomies, settings)
        arrays = {"values": head.values, "brain": np.packbits(head.brain)}
    else:
        volume = training_volume(seed, anatomies, settings)
        arrays = {"pixels": volume.pixels, "tumour": np.packbits(volume.tumour)}
    with atomic_file(path) as temporary:
        np.savez_compressed(temporary, **arrays)
