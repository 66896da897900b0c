"""Baseline: a plain U-Net trained on the phantoms on which the bundled SAM was trained.

    python -m benchmarks.phantom_unet -i SET -o WORK
    python -m benchmarks.baselines -i SCANS -o OUT --only phantom-unet --unet WORK

It uses the same slices and augmentation; logits of three views are averaged.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn

from clisc_nnunet.bundled.augmentation import AugmentSettings, augmented_batch, step_rng
from clisc_nnunet.bundled.phantom_set import HELD_OUT_SEEDS, UNSEEN_SEEDS, load_volumes
from clisc_nnunet.bundled.slice_sampler import SliceSampler
from clisc_nnunet.bundled.training_loop import LoopSettings, train
from clisc_nnunet.errors import WeightsError
from clisc_nnunet.metrics import dice
from clisc_nnunet.stages.sam.plane_views import AXES, centred_window

SIDE, SLICES, TUMOUR_SHARE = 128, 12, 0.82
LOOP = LoopSettings(4000, 2e-3)
CHECKPOINT = "phantom_unet.checkpoint.pt"


def build() -> nn.Module:
    """U-Net of 0.5 million parameters on slices, (n, 1, 128, 128)."""
    torch.manual_seed(0)
    return PlainConvUNet(
        input_channels=1,
        n_stages=5,
        features_per_stage=[12, 24, 48, 64, 64],
        conv_op=nn.Conv2d,
        kernel_sizes=3,
        strides=[1, 2, 2, 2, 2],
        n_conv_per_stage=2,
        num_classes=1,
        n_conv_per_stage_decoder=1,
        conv_bias=True,
        norm_op=nn.InstanceNorm2d,
        norm_op_kwargs={"affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )


def unet_step(
    net: nn.Module, sampler: SliceSampler
) -> Callable[[int], tuple[torch.Tensor, dict[str, float]]]:
    """Step function for `training_loop.train`, on full slices."""
    augment = AugmentSettings(close_up=0.0)

    def step(number: int) -> tuple[torch.Tensor, dict[str, float]]:
        images, masks = augmented_batch(sampler, SLICES, TUMOUR_SHARE, augment, step_rng(0, number))
        target = masks[:, :1]
        logits = net(images)
        probability, over = logits.sigmoid(), (1, 2, 3)
        overlap = (2 * (probability * target).sum(over) + 20) / (
            probability.sum(over) + target.sum(over) + 20
        )
        loss = 6 * F.binary_cross_entropy_with_logits(logits, target) + (1 - overlap).mean()
        return loss, {"dice": float(overlap.detach().mean())}

    return step


@torch.inference_mode()
def predict(net: nn.Module, pixels: np.ndarray) -> np.ndarray:
    """Mean logits of three views, float32, for a stack of slices, uint8 (plane, row, column)."""
    total, seen_by = np.zeros(pixels.shape, np.float32), np.zeros(pixels.shape, np.float32)
    for axis in AXES.values():
        window = centred_window(pixels.shape, axis, SIDE)
        planes = torch.from_numpy(window.cut(pixels))[:, None].float() / 255
        logits = torch.cat([net(part)[:, 0] for part in planes.split(16)]).numpy()
        moved, seen = window.put_back(logits, pixels.shape, outside=0.0)
        total += moved
        seen_by += seen
    return total / np.maximum(seen_by, 1)


def load_trained(folder: Path) -> nn.Module:
    """Load a network trained by `main`.

    Raises
    ------
    WeightsError
        If there is none in the folder.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        raise WeightsError(
            path, "no such file", "a trained network", "train it: benchmarks.phantom_unet -o"
        )
    net = build()
    net.load_state_dict(torch.load(path, weights_only=True)["module"])
    return net.eval()


def main(argv: list[str] | None = None) -> int:
    """Train the network and print its Dice on held-out phantoms; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-i", type=Path, required=True, help="folder of the phantoms")
    parser.add_argument("-o", type=Path, required=True, help="folder of the network")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    net = build()
    sampler = SliceSampler(load_volumes(arguments.i))
    train(net, unet_step(net, sampler), LOOP, arguments.o / CHECKPOINT)
    for name, seeds in (("held out", HELD_OUT_SEEDS), ("unseen kinds", UNSEEN_SEEDS)):
        volumes = [v for v in load_volumes(arguments.i, seeds) if v.tumour.any()]
        scores = [dice(predict(net, v.pixels) > 0, v.tumour) for v in volumes]
        print(f"{name}: mean Dice {np.mean(scores):.3f} of {len(scores)} phantoms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
