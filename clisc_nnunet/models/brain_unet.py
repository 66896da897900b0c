"""The bundled brain extractor: a small 3D U-Net that tells brain from the rest of a head."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn

from clisc_nnunet.models.weights import bundled_state, load_strictly


@dataclass(frozen=True)
class TinyBrainConfig:
    """Architecture of the extractor: nnU-Net's own U-Net, small."""

    spacing_mm: float = 3.0
    """Edge of the cubic voxels it sees."""
    features: tuple[int, ...] = (8, 16, 32, 48)


@dataclass(frozen=True)
class BrainModel:
    """An extractor ready to use, with what tells it apart."""

    module: nn.Module
    config: TinyBrainConfig
    sha256: str


def build_tiny_brain_net(config: TinyBrainConfig) -> nn.Module:
    """Extractor with random weights: (n, 1, plane, row, column) to logits of the same shape."""
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
    """Load the bundled extractor, once per process, on the CPU: it is small enough.

    Raises
    ------
    WeightsError
    """
    state, card = bundled_state("brain")
    values = card["architecture"]
    config = TinyBrainConfig(values["spacing_mm"], tuple(values["features"]))
    module = build_tiny_brain_net(config)
    load_strictly(module, state, "bundled brain extractor")
    return BrainModel(module.eval().requires_grad_(False), config, card["sha256"])
