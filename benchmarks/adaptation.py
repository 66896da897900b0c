"""Whether SAM gains from learning on its own surest labels of the very scans.

    python -m benchmarks.adaptation -d DATASET -r REFERENCES [--surest 0.5] [--steps N] [--rate R]

DATASET is what `clisc_make_pseudo_dataset` wrote; its regions are kept. SAM draws from them, its
decoder learns from what it drew in the cases that it rates highest itself (image encoder
unchanged; prompts spoilt as in its first training), and it draws all cases again. References are
opened for the table alone. It did not help, and no command does it: see docs/results.md.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.compare import paired
from benchmarks.sam_looks import Case, load_cases, make_parser
from clisc_nnunet.bundled.augmentation import AugmentSettings
from clisc_nnunet.bundled.phantom_set import TrainingVolume
from clisc_nnunet.bundled.slice_sampler import SliceSampler
from clisc_nnunet.bundled.train_sam import PromptedNet, sam_step
from clisc_nnunet.bundled.training_loop import LoopSettings, train
from clisc_nnunet.errors import UserError
from clisc_nnunet.metrics import dice
from clisc_nnunet.models.sam import SamModel, load_sam
from clisc_nnunet.settings import PromptSettings, SamSettings
from clisc_nnunet.stages.pseudo_label import fill_holes
from clisc_nnunet.stages.sam.embedding_cache import EmbeddingCache
from clisc_nnunet.stages.sam.volume_segmenter import VolumeSegmenter


@dataclass(frozen=True)
class Label:
    """What SAM drew for a case, bool (plane, row, column), and the IoU that it expects of it."""

    mask: np.ndarray
    predicted_iou: float


def draw(model: SamModel, cases: Sequence[Case]) -> list[Label]:
    """Labels of all cases, each from its region."""
    settings = SamSettings()
    segmenter = VolumeSegmenter(model, PromptSettings(), settings, EmbeddingCache(model, settings))
    labels = []
    for case in cases:
        drawn = segmenter.segment(case.name, case.stack, case.region)
        iou = float(drawn.predicted_iou.mean()) if len(drawn.planes) else 0.0
        labels.append(Label((fill_holes(drawn.logits) > 0) & case.stack.brain, iou))
    return labels


def surest(labels: Sequence[Label], share: float) -> list[int]:
    """Positions of the share of labels with the highest predicted IoU, empty ones left out."""
    drawn = [i for i, label in enumerate(labels) if label.mask.any()]
    ranked = sorted(drawn, key=lambda i: -labels[i].predicted_iou)
    return ranked[: max(1, round(share * len(labels)))]


def adapt(
    model: SamModel, volumes: Sequence[TrainingVolume], loop: LoopSettings, seed: int
) -> list[dict[str, float]]:
    """Train SAM's decoder on labelled stacks, in place; returns the curve."""
    torch.manual_seed(seed)
    module = PromptedNet(model.sam)
    module.requires_grad_(False)
    model.sam.mask_decoder.requires_grad_(True)
    step = sam_step(module, SliceSampler(volumes), seed, AugmentSettings())
    with tempfile.TemporaryDirectory() as folder:
        curve = train(module, step, loop, Path(folder) / "checkpoint.pt")
    module.requires_grad_(False)
    return curve


def table(names: Sequence[str], before: Sequence[float], after: Sequence[float]) -> str:
    """Markdown: mean and lowest Dice before and after, and the paired difference."""
    first, second = (dict(zip(names, each, strict=True)) for each in (before, after))
    found = paired(first, second, lower_is_better=False)
    rows = [
        f"| {name} | {np.mean(each):.3f} | {np.min(each):.3f} |"
        for name, each in (("as shipped", before), ("adapted", after))
    ]
    change = f"difference {found.mean:+.3f} (95 %: {found.low:+.3f} to {found.high:+.3f})"
    head = f"| SAM ({len(names)} cases) | Dice | lowest |\n| --- | --- | --- |\n"
    return head + "\n".join(rows) + f"\n\n{change}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument("--surest", type=float, default=0.5, help="share of cases to learn from")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    try:
        model = load_sam(arguments.sam, torch.device("cpu"))
        cases = load_cases(arguments.d, arguments.r)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    labels = draw(model, cases)
    chosen = surest(labels, arguments.surest)
    volumes = [TrainingVolume(cases[i].stack.pixels, labels[i].mask) for i in chosen]
    loop = LoopSettings(arguments.steps, arguments.rate, warm_up=20)
    adapt(model, volumes, loop, arguments.seed)
    again = draw(model, cases)
    before, after = (
        [dice(label.mask, case.truth) for label, case in zip(each, cases, strict=True)]
        for each in (labels, again)
    )
    print(table([case.name for case in cases], before, after))
    return 0


if __name__ == "__main__":
    sys.exit(main())
