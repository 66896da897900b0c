"""Backbones: shapes, strict loading, and the errors when weights are missing."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import save_file
from timm.models.resnet import resnet50

from clisc_nnunet.errors import WeightsError
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.models import weights
from clisc_nnunet.models.backbones import (
    LAYERS,
    TinyBackboneConfig,
    build_tiny_backbone,
    load_backbone,
)
from clisc_nnunet.models.registry import ENTRIES, Digest


def layer_sides(module: torch.nn.Module, side: int) -> list[int]:
    """Side of the output of each layer for an image of a side."""
    sides = []
    hooks = [
        module.get_submodule(layer).register_forward_hook(
            lambda _module, _inputs, output: sides.append(output.shape[-1])
        )
        for layer in LAYERS
    ]
    with torch.no_grad():
        module.eval()(torch.zeros(1, 3, side, side))
    for hook in hooks:
        hook.remove()
    return sides


@pytest.fixture
def bundled_folder(tmp_path, monkeypatch):
    """Replace the bundled weights by those of a small module, and return the module."""
    config = TinyBackboneConfig(stem_width=4, channels=(4, 6, 8, 10))
    module = build_tiny_backbone(config)
    file = tmp_path / "classifier.safetensors"
    save_file({k: v.half().contiguous() for k, v in module.state_dict().items()}, str(file))
    card = {"architecture": asdict(config), "sha256": file_sha256(file)}
    (tmp_path / "classifier.json").write_text(json.dumps(card))
    monkeypatch.setattr(weights, "BUNDLED", tmp_path)
    return module


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """An empty torch.hub cache, offline; returns the folder where it expects weights."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setenv("CLISC_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("CLISC_OFFLINE", "1")
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def test_the_tiny_backbone_is_tiny_and_has_the_layers_of_a_resnet():
    module = build_tiny_backbone(TinyBackboneConfig())
    assert 0.3e6 < sum(p.numel() for p in module.parameters()) < 0.5e6
    assert layer_sides(module, 128) == [32, 16, 8, 8]
    assert module(torch.zeros(2, 3, 128, 128)).shape == (2, 128)


def test_the_bundled_backbone_is_built_from_its_card(bundled_folder):
    backbone = load_backbone("bundled")
    assert (backbone.channels, backbone.input_size, backbone.layers) == (10, 128, LAYERS)
    torch.testing.assert_close(
        backbone.module.state_dict()["layer4.0.conv1.weight"],
        bundled_folder.state_dict()["layer4.0.conv1.weight"].half().float(),
    )


def test_missing_bundled_weights_are_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "BUNDLED", tmp_path)
    with pytest.raises(WeightsError, match=r"classifier\.json.*reinstall the package"):
        load_backbone("bundled")


def _know(monkeypatch, name, file):
    """Make the registry state the hash of a file."""
    digest = Digest("sha256", file_sha256(file), "a test")
    monkeypatch.setitem(ENTRIES, name, replace(ENTRIES[name], digest=digest))


def test_missing_resnet50_names_the_url(empty_cache):
    with pytest.raises(WeightsError, match=r"weights.*download https://download.pytorch.org/"):
        load_backbone("resnet50")


def test_resnet50_comes_from_the_cache_or_a_file_without_its_classes(empty_cache, monkeypatch):
    state = resnet50(pretrained=False).state_dict()
    file = empty_cache / "resnet50-0676ba61.pth"
    torch.save(state, file)
    with pytest.raises(WeightsError, match=r"expected sha256 0676ba61\.\.\."):
        load_backbone("resnet50")
    _know(monkeypatch, "resnet50", file)
    for name in ("resnet50", str(file)):
        backbone = load_backbone(name)
        assert (backbone.name, backbone.channels) == ("resnet50", 2048)
        assert (backbone.input_size, backbone.sha256) == (224, file_sha256(file))
        torch.testing.assert_close(backbone.module.conv1.weight, state["conv1.weight"])


def test_weights_of_another_network_are_rejected(tmp_path):
    file = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, str(file))
    with pytest.raises(WeightsError, match=r"other\.safetensors.*1 unknown.*weights of ResNet"):
        load_backbone(str(file))


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(WeightsError, match="one of bundled, resnet50, or a"):
        load_backbone("resnet51")
