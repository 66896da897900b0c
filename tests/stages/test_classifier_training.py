"""Training of the slice classifier: learning, reproducibility, bounded memory."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.squares import small_backbone, squares
from hypothesis import given, settings
from hypothesis import strategies as st

from clisc_nnunet.errors import NoTumourError, UserError
from clisc_nnunet.pipeline.classifier_file import load_classifier, save_classifier
from clisc_nnunet.pipeline.result_cache import Fingerprint
from clisc_nnunet.settings import ClassifierSettings
from clisc_nnunet.stages import classifier_training as stage
from clisc_nnunet.stages.classifier_training import (
    augment,
    draw_epoch,
    train_classifier,
)

CPU = torch.device("cpu")
SHORT = ClassifierSettings(epochs=1, batch=16, slices_per_epoch=32, hidden=16)


@pytest.fixture(scope="module")
def trained():
    """A classifier of slices with a bright square, and the losses of its epochs."""
    slices, labels, _ = squares(128, seed=0)
    losses = []
    long = ClassifierSettings(
        epochs=8, learning_rate=5e-3, batch=16, step_epochs=6, slices_per_epoch=128, hidden=32
    )
    network = train_classifier(
        small_backbone(), slices, labels, long, 0, CPU, lambda epoch, loss: losses.append(loss)
    )
    return network, losses


def test_it_learns_bright_squares(trained):
    network, losses = trained
    slices, labels, _ = squares(64, seed=1)
    probability = network.tumour_probability(slices)
    assert ((probability > 0.5) == labels).mean() > 0.95
    assert len(losses) == 8
    assert losses[-1] < 0.5 * losses[0]


def test_a_seed_decides_everything_and_the_global_generator_is_restored():
    slices, labels, _ = squares(32, seed=0)

    def weights(seed: int) -> torch.Tensor:
        network = train_classifier(small_backbone(), slices, labels, SHORT, seed, CPU)
        return torch.cat([p.detach().flatten() for p in network.parameters()])

    before = torch.get_rng_state()
    first = weights(3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)  # whatever else drew numbers
    assert torch.equal(weights(3), first)
    assert not torch.equal(weights(4), first)


def test_the_backbone_is_not_modified():
    slices, labels, _ = squares(32, seed=0)
    backbone = small_backbone()
    before = {k: v.clone() for k, v in backbone.module.state_dict().items()}
    train_classifier(backbone, slices, labels, SHORT, 0, CPU)
    for name, value in backbone.module.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_learning_rate_decreases_in_steps(monkeypatch):
    rates = []
    step = torch.optim.Adam.step

    def record(self, *arguments, **options):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.Adam, "step", record)
    slices, labels, _ = squares(16, seed=0)
    one_batch_an_epoch = replace(SHORT, epochs=5, step_epochs=2, step_gamma=0.1, learning_rate=0.01)
    train_classifier(small_backbone(), slices, labels, one_batch_an_epoch, 0, CPU)
    np.testing.assert_allclose(rates, [1e-2, 1e-2, 1e-3, 1e-3, 1e-4])


def test_slices_are_read_in_ascending_order_in_blocks(monkeypatch):
    slices, labels, _ = squares(40, seed=0)
    monkeypatch.setattr(stage, "READ_AHEAD", 16)
    asked = []

    class Recorder:
        def __len__(self):
            return len(slices)

        def __getitem__(self, index):
            asked.append(index)
            return slices[index]

    every_slice_once = replace(SHORT, slices_per_epoch=0, batch=8)
    train_classifier(small_backbone(), Recorder(), labels, every_slice_once, 0, CPU)
    assert sorted(asked) == list(range(40))
    for start in (0, 16, 32):
        assert asked[start : start + 16] == sorted(asked[start : start + 16])


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 80), st.integers(0, 9))
@settings(max_examples=80, deadline=None)
def test_an_epoch_is_balanced(normal, tumour, size, seed):
    labels = np.array([0] * normal + [1] * tumour)
    drawn = draw_epoch(labels, size, np.random.default_rng(seed))
    assert len(drawn) == max(min(size, len(labels)), 2)
    shown = np.bincount(labels[drawn], minlength=2)
    assert abs(shown[0] - shown[1]) <= 1
    for label in (0, 1):
        times = np.bincount(drawn, minlength=len(labels))[labels == label]
        assert np.ptp(times) <= 1  # none twice before all of its class came once


def test_an_epoch_of_size_zero_has_every_slice_once():
    drawn = draw_epoch(np.array([0, 0, 0, 0, 1]), 0, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(drawn), np.arange(5))


def test_augmentation_changes_slices_but_not_their_background():
    slices, _, shown = squares(20, seed=0)
    images = torch.from_numpy(slices)[:, None].float()
    changed = augment(images, torch.Generator().manual_seed(0))
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert all((changed[i] - images[i]).abs().mean() > 1 for i in range(20))
    # The corners are background before and after; a shift is at most 6 % of the side.
    assert changed[..., :3, :3].abs().max() == 0
    # The square is still there, as bright as it can be after a change of contrast.
    bright = changed[torch.from_numpy(shown.any(axis=(1, 2)))].amax(dim=(1, 2, 3))
    assert bright.min() > 150
    again = augment(images, torch.Generator().manual_seed(0))
    assert torch.equal(again, changed)


def test_augmentation_mirrors_left_and_right_only():
    image = torch.zeros(1, 1, 48, 48)
    image[0, 0, 10:14, 10:14] = 200.0  # upper left
    images = image.expand(64, -1, -1, -1)
    changed = augment(images, torch.Generator().manual_seed(0))[:, 0]
    left = changed[:, :, :24].sum(dim=(1, 2)) > 0
    assert 16 < left.sum() < 48
    assert changed[:, 24:].abs().max() == 0


def test_a_classifier_is_saved_and_loaded_by_its_signature(trained, tmp_path):
    network, _ = trained
    path = tmp_path / "folder" / "classifier.safetensors"
    save_classifier(path, network, Fingerprint("signed"))
    slices, _, _ = squares(6, seed=2)
    found = load_classifier(path, small_backbone(), Fingerprint("signed").signature)
    np.testing.assert_array_equal(
        found.tumour_probability(slices),
        network.tumour_probability(slices),
    )
    assert load_classifier(path, small_backbone(), Fingerprint("other").signature) is None
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("content", [None, b"", b"cut off in the middle"])
def test_a_missing_or_corrupt_file_is_ignored(tmp_path, content):
    path = tmp_path / "classifier.safetensors"
    if content is not None:
        path.write_bytes(content)
    assert load_classifier(path, small_backbone(), Fingerprint("signed").signature) is None


@pytest.mark.parametrize(
    ("label", "error", "message"),
    [
        (0, NoTumourError, "only normal slices; expected slices of both classes"),
        (1, UserError, "only tumour slices; expected slices of both classes"),
    ],
)
def test_labels_of_one_class_are_rejected(label, error, message):
    slices, labels, _ = squares(8, seed=0)
    with pytest.raises(error, match=message):
        train_classifier(small_backbone(), slices, np.full_like(labels, label), SHORT, 0, CPU)


def test_unsure_or_missing_labels_raise_value_error():
    slices, labels, _ = squares(8, seed=0)
    with pytest.raises(ValueError, match=r"labels of shape \(7,\) for 8 slices"):
        train_classifier(small_backbone(), slices, labels[1:], SHORT, 0, CPU)
    labels[0] = -1
    with pytest.raises(ValueError, match=r"labels \[-1, 0, 1\]; expected 0 \(normal\)"):
        train_classifier(small_backbone(), slices, labels, SHORT, 0, CPU)


def test_a_diverging_loss_is_reported():
    slices, labels, _ = squares(32, seed=0)
    bursting = replace(SHORT, learning_rate=1e30, epochs=2)
    with pytest.raises(UserError, match=r"learning rate 1e\+30.*not finite in epoch"):
        train_classifier(small_backbone(), slices, labels, bursting, 0, CPU)
