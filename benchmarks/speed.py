"""Size and speed of the bundled models: `python -m benchmarks.speed`; one core, no GPU."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from clisc_nnunet.models.brain_unet import load_brain_model
from clisc_nnunet.models.clip import load_clip
from clisc_nnunet.models.sam import load_sam
from clisc_nnunet.models.weights import BUNDLED
from clisc_nnunet.settings import SamSettings
from clisc_nnunet.stages.brain_extraction import apply_network
from clisc_nnunet.stages.sam.batched_predictor import embed

SLICES, REPEATS = 16, 9


def milliseconds(work: Callable[[], object]) -> float:
    """Median time of a call."""
    work()  # the first call fills caches
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def main() -> int:
    """Print a table; returns the exit status."""
    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    clip, sam = load_clip("bundled", cpu), load_sam("bundled", cpu).sam
    brain = load_brain_model().module
    pixels = np.random.default_rng(0).integers(0, 255, (SLICES, 128, 128)).astype(np.uint8)
    head = np.random.default_rng(0).random((56, 72, 64), np.float32)
    size = sum(path.stat().st_size for path in BUNDLED.glob("*.safetensors")) / 1e6
    print(f"weights: {size:.1f} MB")
    per_slice = milliseconds(lambda: clip.embed_images(pixels)) / SLICES
    print(f"CLIP's image tower: {per_slice:.1f} ms a slice")
    per_slice = milliseconds(lambda: embed(sam, pixels, SamSettings())) / SLICES
    print(f"SAM's encoder: {per_slice:.1f} ms a slice")
    print(f"brain extractor: {milliseconds(lambda: apply_network(brain, head)):.0f} ms a head")
    return 0


if __name__ == "__main__":
    sys.exit(main())
