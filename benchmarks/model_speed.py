"""Speed of the paper's models at full size: `python -m benchmarks.model_speed [-device cuda]`.

SAM ViT-B and CLIP ViT-B/32 with random weights, which cost what trained ones cost, on slices of a
phantom-like brain. Two ways in one run:

- here: batches, fused attention, the device's precision; a round within the same process finds the
  embeddings of the pass before, one in another process (nnU-Net's training) makes them again;
- the straightforward way: `SamPredictor` slice by slice in fp32, a figure of every slice written,
  and all of it again for the filter round.

Times are wall clock; on a CPU that others use too, processor time of this process (`--clock cpu`).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from segment_anything import SamPredictor, sam_model_registry

from clisc_nnunet.models.clip import ClipModel
from clisc_nnunet.models.device import chosen_precision
from clisc_nnunet.models.registry import OPENAI_MEAN, OPENAI_STD
from clisc_nnunet.models.sam import SamModel, load_sam
from clisc_nnunet.models.sam_attention import fuse_attention
from clisc_nnunet.settings import PromptSettings, SamSettings
from clisc_nnunet.stages.clip_labels import PAPER_TEXT_PROMPTS, class_embeddings, tumour_probability
from clisc_nnunet.stages.sam.batched_predictor import embed, segment
from clisc_nnunet.stages.sam.embedding_cache import EmbeddingCache
from clisc_nnunet.stages.sam.prompts import make_prompts
from clisc_nnunet.stages.sam.types import Prompts

SIDE = 224  # of a slice, as the paper has it
ROUNDS = 2  # drawing the labels, and judging predictions


@dataclass
class Stopwatch:
    """Seconds of a whole, and of a module's forward pass within it.

    Parameters
    ----------
    device : device
    read : callable
        The clock.
    """

    device: torch.device
    read: Callable[[], float]
    total: float = 0.0
    within: float = 0.0
    _started: list[float] = field(default_factory=list)

    def now(self) -> float:
        """Time, when the device has done all it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.read()

    @contextmanager
    def running(self, module: torch.nn.Module) -> Iterator[None]:
        """Count what happens, and apart what happens in a module's forward pass."""
        hooks = [
            module.register_forward_pre_hook(lambda *_: self._started.append(self.now())),
            module.register_forward_hook(lambda *_: self._stop()),
        ]
        started = self.now()
        try:
            yield
        finally:
            self.total += self.now() - started
            for hook in hooks:
                hook.remove()

    def _stop(self) -> None:
        self.within += self.now() - self._started.pop()

    @property
    def share_outside(self) -> float:
        """Share of the time that is not the module's forward pass."""
        return 1 - self.within / self.total


def make_slices(count: int) -> tuple[np.ndarray, Prompts]:
    """Discs with a brighter disc, uint8 (n, row, column), and prompts for the brighter one."""
    rng = np.random.default_rng(0)
    row, column = np.indices((SIDE, SIDE))
    brain = (row - SIDE // 2) ** 2 + (column - SIDE // 2) ** 2 < (0.42 * SIDE) ** 2
    regions = np.zeros((count, SIDE, SIDE), bool)
    for k, region in enumerate(regions):
        region[:] = (row - 90 - k % 20) ** 2 + (column - 120) ** 2 < 24**2
    pixels = np.where(regions, 200, np.where(brain, 110, 0)) + rng.integers(0, 40, regions.shape)
    pixels = pixels.astype(np.uint8)
    return pixels, make_prompts(pixels, regions, PromptSettings(margin=10))


def random_sam(device: torch.device) -> torch.nn.Module:
    """SAM ViT-B as segment_anything builds it."""
    torch.manual_seed(0)
    return sam_model_registry["vit_b"]().to(device).eval().requires_grad_(False)


def random_clip(device: torch.device) -> ClipModel:
    """CLIP ViT-B/32 as open_clip builds it."""
    torch.manual_seed(0)
    module = open_clip.create_model("ViT-B-32", pretrained=None, force_quick_gelu=True)
    module = module.to(device).eval().requires_grad_(False)
    tokenize: Any = open_clip.get_tokenizer("ViT-B-32")
    return ClipModel(module, tokenize, 224, OPENAI_MEAN, OPENAI_STD, "random", "")


def straightforward(
    sam: Any, pixels: np.ndarray, prompts: Prompts, watch: Stopwatch, rounds: int
) -> None:
    """Slice by slice with the library's predictor, and a figure of each."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    predictor = SamPredictor(sam)
    with tempfile.TemporaryDirectory() as folder, watch.running(sam.image_encoder):
        for _ in range(rounds):
            for k, plane in enumerate(pixels):
                predictor.set_image(np.repeat(plane[:, :, None], 3, axis=2))
                masks, _, _ = predictor.predict(
                    prompts.points[k], prompts.labels[k], box=prompts.boxes[k],
                    multimask_output=False,
                )  # fmt: skip
                figure, axes = plt.subplots(figsize=(10, 10))
                axes.imshow(plane, cmap="gray")
                axes.imshow(np.where(masks[0], 1.0, np.nan), alpha=0.6)
                axes.axis("off")
                figure.savefig(Path(folder) / f"{k}.png")
                plt.close(figure)


def ours(
    sam: Any,
    pixels: np.ndarray,
    prompts: Prompts,
    watch: Stopwatch,
    settings: SamSettings,
    rounds: int,
) -> None:
    """As the package does it within one process: batches, and embeddings remembered."""
    cache = EmbeddingCache(SamModel(sam, "random", ""), settings)
    planes = np.arange(len(pixels))
    with watch.running(sam.image_encoder):
        for _ in range(rounds):
            for start in range(0, len(pixels), settings.batch):
                rows = slice(start, start + settings.batch)
                segment(
                    sam,
                    cache.get("case", planes[rows], pixels[rows]),
                    prompts[rows],
                    SIDE,
                    settings,
                )


def clip_share(clip: ClipModel, pixels: np.ndarray, watch: Stopwatch) -> None:
    """Stage 2 with CLIP."""
    classes = class_embeddings(clip, PAPER_TEXT_PROMPTS)
    tumour_probability(clip, classes, pixels[:1])
    with watch.running(clip.module.visual):
        tumour_probability(clip, classes, pixels)


def mask_difference(precision: str, device: torch.device) -> tuple[float, float]:
    """Dice of the bundled SAM's masks in a precision with those in fp32, mean and least."""
    sam = load_sam("bundled", device).sam
    pixels, _ = make_slices(16)
    prompts = make_prompts(pixels, pixels > 190, PromptSettings())
    masks = []
    for each in ("fp32", precision):
        settings = SamSettings(precision=each)  # type: ignore[arg-type]
        masks.append(segment(sam, embed(sam, pixels, settings), prompts, SIDE, settings).logits > 0)
    both = (masks[0] & masks[1]).sum(axis=(1, 2))
    dice = 2 * both / (masks[0].sum(axis=(1, 2)) + masks[1].sum(axis=(1, 2)))
    return float(dice.mean()), float(dice.min())


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.model_speed")
    parser.add_argument("-device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("-n", type=int, help="slices (default: 64 on a GPU, 2 on a CPU)")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args(argv)
    device = torch.device(options.device)
    count = options.n or (64 if device.type == "cuda" else 2)
    read = time.process_time if options.clock == "cpu" else time.perf_counter
    pixels, prompts = make_slices(count)
    precision = chosen_precision(options.precision, device)
    settings = SamSettings(equalise=True, batch=options.batch, precision=options.precision)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    print(f"{name}, {count} slices, {options.clock} clock, {torch.get_num_threads()} threads")

    clip, watch = random_clip(device), Stopwatch(device, read)
    clip_share(clip, np.repeat(pixels, max(64 // count, 1), axis=0), watch)
    n = count * max(64 // count, 1)
    print(f"CLIP ViT-B/32: {1000 * watch.total / n:.1f} ms a slice, "
          f"{watch.share_outside:.0%} outside the image tower")  # fmt: skip
    del clip

    sam = random_sam(device)
    if device.type == "cuda":  # kernels are chosen and loaded at the first call
        straightforward(sam, pixels[:1], prompts[:1], Stopwatch(device, read), 1)
    plain = Stopwatch(device, read)
    straightforward(sam, pixels, prompts, plain, ROUNDS)
    fuse_attention(sam.image_encoder)  # type: ignore[arg-type]
    if device.type == "cuda":
        few = slice(0, options.batch)
        ours(sam, pixels[few], prompts[few], Stopwatch(device, read), settings, 1)
    once = Stopwatch(device, read)
    ours(sam, pixels, prompts, once, settings, ROUNDS)
    again = Stopwatch(device, read, once.total, once.within)
    ours(sam, pixels, prompts, again, settings, 1)
    for what, each in (
        ("straightforward", plain),
        (f"here, {precision}, round in the same process", once),
        (f"here, {precision}, round in another process", again),
    ):
        print(
            f"SAM ViT-B, {what}: {1000 * each.total / count:.0f} ms a slice for labels and round, "
            f"{1000 * each.within / count:.0f} ms of it in the encoder "
            f"({each.share_outside:.0%} outside), ratio {plain.total / each.total:.1f}"
        )
    for each in ("bf16", "fp16"):
        if device.type == "cuda" or each == "bf16":
            mean, least = mask_difference(each, device)
            print(f"bundled SAM's masks in {each} against fp32: Dice {mean:.4f}, least {least:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
