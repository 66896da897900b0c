"""Backbones of the slice classifier: the bundled small ResNet, and ResNet-50 of ImageNet.

Both have blocks named `layer1` (finest) to `layer4`, so one setting selects the CAM's layer for
either backbone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from timm.models.resnet import BasicBlock, ResNet, resnet50
from torch import nn

from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.models.download import checked, weights_path
from clisc_nnunet.models.locate import Located, locate
from clisc_nnunet.models.registry import BUNDLED_NAME, ENTRIES, HALF, Channels
from clisc_nnunet.models.weights import bundled_state, load_strictly, read_state

LAYERS = ("layer1", "layer2", "layer3", "layer4")


@dataclass(frozen=True)
class TinyBackboneConfig:
    """Architecture of the bundled backbone, a small timm ResNet of basic blocks."""

    input_size: int = 128
    stem_width: int = 16
    channels: tuple[int, ...] = (32, 48, 80, 128)
    blocks: tuple[int, ...] = (1, 1, 1, 1)
    output_stride: int = 16
    """With 16, `layer4` is dilated and as fine as `layer3`: 8 x 8 for an input of 128."""


@dataclass(frozen=True)
class Backbone:
    """Feature extractor with its input specification.

    Parameters
    ----------
    module : Module
        Normalised images, float32 (n, 3, row, column), to pooled features (n, channels).
    channels : int
        Number of features.
    layers : tuple of str
        Blocks whose CAM can be computed, fine to coarse.
    input_size : int
        Side of the square input in pixels.
    mean, std : tuple of 3 float
        Normalisation of pixels in 0..1.
    name : str
        Name that loads the same architecture again.
    sha256 : str
        Hash of the weight file.
    """

    module: nn.Module
    channels: int
    layers: tuple[str, ...]
    input_size: int
    mean: Channels
    std: Channels
    name: str
    sha256: str


def load_backbone(name: str) -> Backbone:
    """Load a backbone with pretrained weights.

    Parameters
    ----------
    name : str
        `bundled`; `resnet50` (ImageNet weights, as in the paper; from the weights folder or the
        cache of torch.hub, or downloaded on first use); or the path of a file with ImageNet
        weights of ResNet-50.

    Raises
    ------
    WeightsError
        If the weights are missing and cannot be downloaded, are of another architecture, or, when
        loaded by name, have another hash.
    """
    if name == BUNDLED_NAME:
        return _bundled()
    entry = ENTRIES["resnet50"]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / entry.file
    if name == "resnet50" and cached.is_file() and not weights_path(entry).is_file():
        return _resnet50(Located(checked(entry, cached), entry, name))
    return _resnet50(locate(name, "classifier"))


def build_tiny_backbone(config: TinyBackboneConfig) -> nn.Module:
    """The bundled architecture with random weights (0.4 million parameters)."""
    return ResNet(
        BasicBlock,  # type: ignore[arg-type]  # timm declares an instance, it takes the class
        layers=tuple(config.blocks),
        channels=tuple(config.channels),
        num_classes=0,
        stem_type="deep",
        stem_width=config.stem_width,
        output_stride=config.output_stride,
    )


def _bundled() -> Backbone:
    state, card = bundled_state("classifier")
    config = TinyBackboneConfig(**card["architecture"])
    module = build_tiny_backbone(config)
    load_strictly(module, state, "bundled classifier")
    channels = config.channels[-1]
    digest = card["sha256"]
    return Backbone(module, channels, LAYERS, config.input_size, HALF, HALF, "bundled", digest)


def _resnet50(found: Located) -> Backbone:
    entry = found.entry or ENTRIES["resnet50"]
    module = resnet50(pretrained=False, num_classes=0)
    # Drop the ImageNet classification layer.
    state = {k: v for k, v in read_state(found.path).items() if not k.startswith("fc.")}
    load_strictly(module, state, str(found.path))
    digest = file_sha256(found.path)
    return Backbone(
        module, 2048, LAYERS, entry.input_size, entry.mean, entry.std, "resnet50", digest
    )
