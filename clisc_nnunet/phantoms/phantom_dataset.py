"""Generate a dataset of phantoms on disk; an interrupted call can be resumed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from clisc_nnunet.errors import UserError
from clisc_nnunet.io.atomic_write import write_text
from clisc_nnunet.io.volume import write_volume
from clisc_nnunet.phantoms.anatomy import Anatomy, anatomy_hashes, load_anatomies, mni152_anatomy
from clisc_nnunet.phantoms.phantom import GENERATOR_VERSION, make_phantom
from clisc_nnunet.phantoms.settings import KINDS, PhantomSettings, as_record
from clisc_nnunet.processes import make_executor
from clisc_nnunet.provenance import differences, found_and_expected, restricted

# Intensity of white matter in the files, similar to that of scanners.
WHITE_MATTER = 400.0


def make_phantom_dataset(
    folder: Path,
    count: int,
    seed: int,
    anatomy_folder: Path | None,
    spacing_mm: float,
    tumour_free: float,
    processes: int,
    kinds: str = "usual",
) -> list[dict[str, Any]]:
    """Generate phantoms as `images/CASE/CASE_flair.nii.gz` and `labels/CASE.nii.gz`.

    Parameters
    ----------
    folder : Path
        Phantoms of an earlier call with the same settings are kept, even if more than `count`.
    count, seed : int
        Phantom k has seed `seed + k`.
    anatomy_folder : Path, optional
        Folder of label maps; by default MNI152.
    spacing_mm : float
    tumour_free : float
        Share of phantoms without a tumour.
    processes : int
        Number of processes; does not affect the phantoms.
    kinds : str
        A key of `phantoms.settings.KINDS`.

    Returns
    -------
    list of dict
        Facts of all phantoms in the folder, as in `phantoms.json`.

    Raises
    ------
    UserError
        If the folder contains other files or phantoms with other settings, a value is out of
        range, or a label map is invalid; nothing is written then.
    """
    if seed < 0:
        raise UserError("--seed", str(seed), "0 or more", "correct it")
    if not 0 <= tumour_free <= 1:
        raise UserError("--tumour-free", str(tumour_free), "a share from 0 to 1", "correct it")
    if not 0.5 <= spacing_mm <= 6:
        raise UserError("--spacing", f"{spacing_mm} mm", "0.5 to 6 mm", "correct it")
    settings = KINDS[kinds]
    settings = replace(settings, tumour=replace(settings.tumour, free=tumour_free))
    recipe = {
        "seed": seed,
        "spacing_mm": spacing_mm,
        "anatomies": "mni152" if anatomy_folder is None else anatomy_hashes(anatomy_folder),
        "settings": as_record(settings),
        "drawing": GENERATOR_VERSION,
    }
    _check_folder(folder, recipe)
    anatomies = (
        [mni152_anatomy(spacing_mm)]
        if anatomy_folder is None
        else load_anatomies(anatomy_folder, spacing_mm)
    )
    record = folder / "phantoms.json"
    if not record.exists():
        write_text(record, json.dumps(recipe, indent=1) + "\n")
    jobs = [partial(_make_case, folder, k, seed + k, anatomies, settings) for k in range(count)]
    for _ in tqdm(_as_completed(jobs, processes), total=count, desc="phantoms", unit="case"):
        pass
    # Include phantoms of an earlier call with a larger count.
    files = _facts_file(folder, 0).parent.glob("phantom_*.json")
    complete = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    cases = sorted(complete, key=lambda facts: int(facts["case"].rpartition("_")[2]))
    write_text(record, json.dumps({**recipe, "cases": cases}, indent=1) + "\n")
    return cases


def stored_intensities(flair: np.ndarray) -> np.ndarray:
    """Intensities of a phantom as in files, int16; voxels of the head stay above 0."""
    # Rounding must not set them to 0, the background.
    stored = np.where(flair > 0, np.maximum(np.rint(flair * WHITE_MATTER), 1), 0)
    return stored.astype(np.int16)


def _as_completed(
    jobs: Sequence[Callable[[], dict[str, Any]]], processes: int
) -> Iterator[dict[str, Any]]:
    """Results in the order of completion; the first failure cancels the other jobs."""
    if processes == 1:
        for job in jobs:
            yield job()
        return
    with make_executor(processes) as executor:
        try:
            for future in as_completed([executor.submit(job) for job in jobs]):
                yield future.result()
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def _check_folder(folder: Path, recipe: dict[str, Any]) -> None:
    """Check that the folder contains nothing but phantoms with the same settings."""
    if any(path.is_file() for path in (folder, *folder.parents)):
        raise UserError(folder, "a file", "a folder", "choose another -o")
    path = folder / "phantoms.json"
    if path.exists():
        existing = json.loads(path.read_text(encoding="utf-8"))
        found, expected = found_and_expected(differences(restricted(existing, recipe), recipe))
        if found:
            raise UserError(
                folder,
                f"phantoms with {found}",
                f"an empty folder, or phantoms with {expected}",
                "choose another folder",
            )
    elif folder.exists() and any(folder.iterdir()):
        raise UserError(folder, "other files", "an empty folder", "choose another folder")


def _facts_file(folder: Path, number: int) -> Path:
    return folder / "facts" / f"phantom_{number:04d}.json"


def _make_case(
    folder: Path, number: int, seed: int, anatomies: Sequence[Anatomy], settings: PhantomSettings
) -> dict[str, Any]:
    facts_file = _facts_file(folder, number)
    case = facts_file.stem
    if facts_file.exists():
        return json.loads(facts_file.read_text(encoding="utf-8"))
    phantom = make_phantom(seed, anatomies, settings)
    geometry = phantom.geometry
    flair = stored_intensities(phantom.flair)
    write_volume(folder / "labels" / f"{case}.nii.gz", phantom.tumour, geometry)
    write_volume(folder / "images" / case / f"{case}_flair.nii.gz", flair, geometry)
    # Written last: it marks the case as complete.
    facts = {"case": case, **phantom.facts}
    write_text(facts_file, json.dumps(facts) + "\n")
    return facts
