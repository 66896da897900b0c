"""Time, memory and disk of a conversion by the number of cases, and the reckoning for 10,000.

    python -m benchmarks.many_cases -o many_cases_out -n 200 -np 2

A handful of phantoms is made; every further case is one of them, mirrored, shifted in grey values
and with noise of its own, so that no two files are equal. Planes are thick, to be quick.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from clisc_nnunet.cli.make_phantoms import main as make_phantoms
from clisc_nnunet.io.atomic_write import write_text
from clisc_nnunet.io.volume import read_volume, write_volume

ORIGINALS = 4
RECKONED = 10_000


def make_scans(folder: Path, count: int, spacing_mm: float, seed: int) -> None:
    """Write `count` scans as `folder/CASE.nii.gz`; those that are there stay."""
    originals = folder.parent / "originals"
    make_phantoms(
        ["-o", str(originals), "-n", str(ORIGINALS), "--spacing", str(spacing_mm), "--seed", "5"]
    )
    volumes = [read_volume(path) for path in sorted(originals.glob("images/*/*_flair.nii.gz"))]
    for number in range(count):
        target = folder / f"case_{number:05d}.nii.gz"
        if not target.exists():
            volume = volumes[number % ORIGINALS]
            array = variation(volume.array, np.random.default_rng([seed, number]))
            write_volume(target, array, volume.geometry)


def variation(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another scan of the same head: mirrored or not, brighter or darker, with its own noise.

    Parameters
    ----------
    array : float32 ndarray of shape (plane, row, column)
        Background 0.
    rng : numpy.random.Generator
    """
    head = array != 0
    gain = np.exp(rng.normal(0, 0.1))
    noisy = array * gain + rng.normal(0, 0.02 * float(array.max()), array.shape)
    varied = np.where(head, np.maximum(noisy, 1.0), 0.0).astype(np.float32)
    return varied[:, :, ::-1] if rng.random() < 0.5 else varied


def disk_mb(folder: Path) -> float:
    """Sizes of all files below a folder, links not followed."""
    return sum(p.lstat().st_size for p in folder.rglob("*") if not p.is_dir()) / 1e6


def figures(count: int, seconds: dict[str, float], peak_gb: float, mb: float) -> dict:
    """What a run took, by case, and what `RECKONED` cases would take with the same processes.

    Training takes a number of slices that is bounded, so that its time is not multiplied.
    """
    fixed = sum(
        spent for stage, spent in seconds.items() if stage.endswith(("classifier", "choice"))
    )
    by_case = (seconds["total"] - fixed) / count
    return {
        "cases": count,
        "seconds_per_case": round(by_case, 2),
        "seconds_once": round(fixed, 1),
        "peak_memory_gb": peak_gb,
        "mb_per_case": round(mb / count, 2),
        "reckoned": {
            "cases": RECKONED,
            "hours": round((by_case * RECKONED + fixed) / 3600, 1),
            "gb": round(mb / count * RECKONED / 1000, 1),
        },
        "seconds": seconds,
    }


def main(argv: list[str] | None = None) -> int:
    """Make the scans, convert them, print the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.many_cases", description=__doc__)
    parser.add_argument("-o", type=Path, required=True, metavar="FOLDER", help="a new folder")
    parser.add_argument("-n", type=int, default=200, metavar="CASES")
    parser.add_argument("-np", type=int, default=2, metavar="N", help="processes")
    parser.add_argument("--spacing", type=float, default=3.0, help="of the phantoms, in mm")
    parser.add_argument("--plane", type=float, default=6.0, help="slices.plane_mm")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    out = arguments.o.absolute()
    make_scans(out / "scans", arguments.n, arguments.spacing, arguments.seed)
    command = [
        sys.executable, "-m", "clisc_nnunet.dataset_conversion.make_pseudo_dataset",
        "-i", str(out / "scans"), "-d", "501", "-o", str(out), "-np", str(arguments.np),
        "-device", "cpu", "--set", f"slices.plane_mm={arguments.plane}",
        "--report", str(out / "report.json"),
    ]  # fmt: skip
    started = time.monotonic()
    # In a process of its own: its memory is what counts, not that of making phantoms.
    status = subprocess.run(command, check=False).returncode
    spent = time.monotonic() - started
    if status not in (0, 3):
        return status
    dataset = out / "Dataset501_CLISC"
    record = json.loads((dataset / "clisc" / "run.json").read_text(encoding="utf-8"))
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9
    result = figures(arguments.n, record["seconds"], round(largest, 2), disk_mb(dataset))
    result |= {"processes": arguments.np, "wall_seconds": round(spent, 1)}
    text = json.dumps(result, indent=1)
    write_text(out / "figures.json", text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
