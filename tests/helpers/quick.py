"""Fast conversions of phantoms: thick planes and few epochs, but the same stages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from clisc_nnunet.dataset_conversion.make_pseudo_dataset import main

QUICK = [
    "--set", "slices.plane_mm=8", "--set", "classifier.epochs=1",
    "--set", "cam.layer=layer2", "--set", "roi.candidates=[0.2,0.3]", "-device", "cpu",
]  # fmt: skip


def call(scans: Path, root: Path, *more: str) -> list[str]:
    """Arguments of the command; dataset 501 under `root`."""
    one = [] if "-np" in more else ["-np", "1"]
    return ["-i", str(scans), "-d", "501", "-o", str(root), *QUICK, *one, *more]


def convert(scans: Path, root: Path, *more: str) -> int:
    """Run the command in this process; returns the exit status."""
    return main(call(scans, root, *more))


def start(scans: Path, root: Path, *more: str) -> subprocess.Popen[bytes]:
    """Run the command in a separate process."""
    module = "clisc_nnunet.dataset_conversion.make_pseudo_dataset"
    return subprocess.Popen(
        [sys.executable, "-m", module, *call(scans, root, *more)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def labels(root: Path) -> dict[str, bytes]:
    """Label files by name."""
    folder = root / "Dataset501_CLISC" / "labelsTr"
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def clisc(root: Path) -> Path:
    """Folder of the run's records."""
    return root / "Dataset501_CLISC" / "clisc"
