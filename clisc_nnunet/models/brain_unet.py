"""The bundled brain extractor, a small 3D U-Net."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn

from clisc_nnunet.models.weights import bundled_state, load_strictly


@dataclass(frozen=True)
class TinyBrainConfig:
    """Architecture of the extractor, a small version of nnU-Net's `PlainConvUNet`."""

    spacing_mm: float = 3.0
    """Isotropic voxel spacing of its input."""
    features: tuple[int, ...] = (8, 16, 32, 48)


@dataclass(frozen=True)
class BrainModel:
    """An extractor ready for inference; `sha256` is the hash of its weight file."""

    module: nn.Module
    config: TinyBrainConfig
    sha256: str


def build_tiny_brain_net(config: TinyBrainConfig) -> nn.Module:
    """The architecture with random weights: (n, 1, plane, row, column) to logits of that shape."""
    stages = len(config.features)
    return PlainConvUNet(
        input_channels=1,
        n_stages=stages,
        features_per_stage=list(config.features),
        conv_op=nn.Conv3d,
        kernel_sizes=3,
        strides=[1] + [2] * (stages - 1),
        n_conv_per_stage=[1] + [2] * (stages - 1),
        num_classes=1,
        n_conv_per_stage_decoder=1,
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )


@lru_cache(1)
def load_brain_model() -> BrainModel:
    """Load the bundled extractor on the CPU, where it is fast enough; cached per process.

    Raises
    ------
    WeightsError
        If its files are missing or corrupt.
    """
    state, card = bundled_state("brain")
    values = card["architecture"]
    config = TinyBrainConfig(values["spacing_mm"], tuple(values["features"]))
    module = build_tiny_brain_net(config)
    load_strictly(module, state, "bundled brain extractor")
    return BrainModel(module.eval().requires_grad_(False), config, card["sha256"])
