"""LayerCAM highlights what the classifier learnt, only in slices classified as tumour."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.squares import SIDE, small_backbone, squares

from clisc_nnunet.settings import ClassifierSettings
from clisc_nnunet.stages.classifier_training import train_classifier
from clisc_nnunet.stages.layer_cam import layer_cam

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network():
    """A classifier of slices with a bright square."""
    slices, labels, _ = squares(128, seed=0)
    settings = ClassifierSettings(
        epochs=8, learning_rate=5e-3, batch=16, step_epochs=6, slices_per_epoch=128, hidden=32
    )
    return train_classifier(small_backbone(), slices, labels, settings, 0, CPU)


def test_the_cam_highlights_the_square(network):
    slices, labels, shown = squares(16, seed=1)
    cam, probability = layer_cam(network, slices, "layer2", CPU)
    assert cam.shape == slices.shape
    assert cam.dtype == probability.dtype == np.float32
    tumour = np.flatnonzero((probability > 0.5) & (labels == 1))
    assert len(tumour) >= 7
    # The square covers 6 % of the slice; for a CAM that knew nothing both means would be equal.
    ratios = [cam[i][shown[i]].mean() / cam[i][~shown[i]].mean() for i in tumour]
    assert min(ratios) > 1.5
    assert np.median(ratios) > 2.5


def test_each_cam_spans_zero_to_one_and_slices_classified_as_normal_have_none(network):
    slices, _, _ = squares(16, seed=1)
    cam, probability = layer_cam(network, slices, "layer3", CPU)
    called = probability > 0.5
    assert 0 < called.sum() < 16
    np.testing.assert_allclose(cam[called].max(axis=(1, 2)), 1.0, atol=1e-4)
    assert cam.min() == 0.0
    assert not cam[~called].any()


def test_the_batch_does_not_matter(network):
    slices, _, _ = squares(10, seed=2)
    one = layer_cam(network, slices, "layer1", CPU, batch=1)
    all_at_once = layer_cam(network, slices, "layer1", CPU, batch=10)
    for first, second in zip(one, all_at_once, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-4)


def test_a_cam_is_activation_times_positive_gradient(network):
    slices, labels, _ = squares(2, seed=3)
    image = torch.from_numpy(slices[labels == 1])[:, None].float()
    kept = []

    def keep(_module, _inputs, output):
        output.retain_grad()
        kept.append(output)

    handle = network.backbone.layer1.register_forward_hook(keep)
    network(image)[0, 1].backward()
    handle.remove()
    network.zero_grad(set_to_none=True)
    raw = (kept[0].grad.clamp(min=0) * kept[0].detach()).sum(1)[0].clamp(min=0)
    enlarged = F.interpolate(raw[None, None], (SIDE, SIDE), mode="bilinear")[0, 0].numpy()
    expected = (enlarged - enlarged.min()) / np.ptp(enlarged)
    cam, _ = layer_cam(network, slices[labels == 1], "layer1", CPU)
    np.testing.assert_allclose(cam[0], expected, atol=1e-3)


def test_the_classifier_keeps_its_weights_without_gradients_or_hooks(network):
    slices, _, _ = squares(4, seed=1)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    layer_cam(network, slices, "layer2", CPU)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


def test_hooks_are_released_when_something_fails(network, monkeypatch):
    def fail(*_arguments, **_options):
        raise IndexError("in the middle")

    monkeypatch.setattr("clisc_nnunet.stages.layer_cam.to_images", fail)
    with pytest.raises(IndexError, match="in the middle"):
        layer_cam(network, squares(4, seed=1)[0], "layer2", CPU)
    assert not any(module._forward_hooks for module in network.modules())


def test_no_slices_give_no_cams(network):
    cam, probability = layer_cam(network, np.zeros((0, SIDE, SIDE), np.uint8), "layer2", CPU)
    assert cam.shape == (0, SIDE, SIDE)
    assert probability.shape == (0,)


def test_an_unknown_layer_is_named(network):
    with pytest.raises(AttributeError, match="layer9"):
        layer_cam(network, squares(4, seed=1)[0], "layer9", CPU)
