"""The slice classifier's input, its head, and its copy of the backbone."""

import numpy as np
import pytest
import torch
from helpers.squares import SIDE, small_backbone, squares

from clisc_nnunet.models.slice_classifier import SliceClassifier, to_images


def classifier():
    """Untrained, with seeded weights."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return SliceClassifier(small_backbone(), hidden=16).eval()


def test_the_head_is_the_papers():
    kinds = [type(layer).__name__ for layer in classifier().head]
    assert kinds == ["Linear", "ReLU", "Dropout", "Linear"]
    assert [tuple(p.shape) for p in classifier().head.parameters()] == [
        (16, 24),
        (16,),
        (2, 16),
        (2,),
    ]


def test_grey_values_are_normalised_by_the_backbones_mean_and_deviation():
    seen = []
    network = classifier()
    network.backbone.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    grey = np.zeros((1, SIDE, SIDE), np.uint8)
    grey[0, 0, :3] = 0, 51, 255
    network(to_images(grey, torch.device("cpu")))
    assert seen[0].shape == (1, 3, SIDE, SIDE)
    for channel in range(3):
        torch.testing.assert_close(seen[0][0, channel, 0, :3], torch.tensor([-1.0, -0.6, 1.0]))


def test_slices_of_another_side_are_resized():
    seen = []
    network = classifier()
    network.backbone.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    network(to_images(np.full((2, 2 * SIDE, 2 * SIDE), 255, np.uint8), torch.device("cpu")))
    assert seen[0].shape == (2, 3, SIDE, SIDE)
    torch.testing.assert_close(seen[0], torch.ones(2, 3, SIDE, SIDE))


def test_probabilities_do_not_depend_on_the_batch():
    slices, _, _ = squares(7, seed=0)
    network = classifier()
    all_at_once = network.tumour_probability(slices)
    assert all_at_once.dtype == np.float32
    assert np.ptp(all_at_once) > 0
    np.testing.assert_allclose(network.tumour_probability(slices, batch=2), all_at_once, atol=1e-6)
    assert network.tumour_probability(slices[:0]).shape == (0,)


def test_training_mode_is_rejected():
    with pytest.raises(RuntimeError, match=r"call eval\(\) first"):
        classifier().train().tumour_probability(squares(2, seed=0)[0])


def test_the_backbone_is_copied():
    backbone = small_backbone()
    network = SliceClassifier(backbone)
    with torch.no_grad():
        network.backbone.conv1[0].weight.zero_()
    assert backbone.module.conv1[0].weight.abs().sum() > 0
