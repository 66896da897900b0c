"""What it saves to keep SAM's embeddings on disk: slices encoded, then found again.

    python -m benchmarks.shelf_saving -o FOLDER [-n 4]

A SAM ViT-B of full size with random weights, as `CLISC_EMBEDDINGS=FOLDER` keeps its embeddings;
processor time of this process on one thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from segment_anything import sam_model_registry

from clisc_nnunet.models.sam import SamModel
from clisc_nnunet.models.sam_attention import fuse_attention
from clisc_nnunet.settings import SamSettings
from clisc_nnunet.stages.sam.embedding_cache import FOLDER, EmbeddingCache


def seconds_to_embed(model: SamModel, pixels: np.ndarray) -> tuple[float, int]:
    """What a new run needs for slices, uint8 (n, side, side), and how many of them it encodes."""
    cache, start = EmbeddingCache(model, SamSettings(batch=2)), time.process_time()
    cache.get("case", np.arange(len(pixels)), pixels)
    return time.process_time() - start, cache.encoded


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", type=Path, required=True, metavar="FOLDER", help="of the embeddings")
    parser.add_argument("-n", type=int, default=4, help="slices")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sam = sam_model_registry["vit_b"]().eval().requires_grad_(False)
    fuse_attention(sam.image_encoder)
    model = SamModel(sam, "vit_b", "random weights of seed 0")
    pixels = np.random.default_rng(0).integers(0, 255, (arguments.n, 128, 128)).astype(np.uint8)
    with patch.dict("os.environ", {FOLDER: str(arguments.o)}):
        for run in ("first", "second"):
            seconds, encoded = seconds_to_embed(model, pixels)
            print(f"{run} run: {encoded} slices encoded, {seconds:.2f} s", flush=True)
    size = sum(file.stat().st_size for file in arguments.o.glob("*.npy"))
    print(f"{size / 1e6 / arguments.n:.1f} MB a slice")
    return 0


if __name__ == "__main__":
    sys.exit(main())
