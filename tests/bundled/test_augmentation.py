import numpy as np
import pytest
import torch
from helpers.balls import ball_volume

from clisc_nnunet.bundled.augmentation import (
    AugmentSettings,
    augmented_batch,
    gaussian_blur,
    random_affine,
    random_intensity,
    step_rng,
)
from clisc_nnunet.bundled.slice_sampler import SliceSampler


@pytest.fixture(scope="module")
def sampler():
    return SliceSampler([ball_volume(k, tumour=k % 2 == 1) for k in range(4)])


@pytest.fixture(scope="module")
def batch(sampler):
    """Images in 0..1 with their tumours, (8, 1, 128, 128) each."""
    drawn = sampler.draw(8, 1.0, np.random.default_rng(0))
    images = torch.from_numpy(drawn.pixels)[:, None].float() / 255
    return images, torch.from_numpy(drawn.tumour)[:, None].float()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_affine_moves_images_and_masks_alike(batch):
    images, masks = batch
    moved, moved_masks = random_affine(images, masks, AugmentSettings(), seeded())
    assert not torch.equal(moved, images)
    bright = (moved > 0.7).float()
    assert 2 * (bright * moved_masks).sum() / (bright.sum() + moved_masks.sum()) > 0.9


def test_without_ranges_nothing_moves(batch):
    images, masks = batch
    still = AugmentSettings(rotation=0, zoom=(1, 1), shift=0, close_up=0)
    moved, moved_masks = random_affine(images, masks, still, seeded())
    torch.testing.assert_close(moved, images, atol=1e-4, rtol=0)
    assert torch.equal(moved_masks, masks)


def test_a_close_up_enlarges_the_tumour_and_brings_it_near_the_middle(batch):
    images, masks = batch
    settings = AugmentSettings(close_up=1.0, close_up_zoom=(2.0, 2.0))
    _, moved = random_affine(images, masks, settings, seeded())
    for before, after in zip(masks[:, 0], moved[:, 0], strict=True):
        assert float(after.sum()) == pytest.approx(4 * float(before.sum()), rel=0.15)
        # A quarter of half the frame each way, along turned axes.
        assert (after.nonzero().float().mean(dim=0) - 63.5).norm() < 16 * 2**0.5 + 2


def test_a_close_up_of_an_empty_slice_is_possible():
    blank = torch.zeros(2, 1, 64, 64)
    moved, masks = random_affine(blank, blank, AugmentSettings(close_up=1.0), seeded())
    assert not moved.any()
    assert not masks.any()


def test_intensity_keeps_the_background_and_the_range(batch):
    images, _ = batch
    changed = random_intensity(images, AugmentSettings(), seeded())
    assert not torch.equal(changed, images)
    assert (changed[images == 0] == 0).all()
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_noise_stays_out_of_the_background_and_has_its_size(batch):
    images, _ = batch
    noisy = random_intensity(images, AugmentSettings(noise=0.2, blur=0.4), seeded())
    calm = random_intensity(images, AugmentSettings(noise=0.0, blur=0.4), seeded())
    inside = images > 0
    assert 0.01 < (noisy - calm)[inside].std() < 0.2
    assert torch.equal(noisy[~inside], calm[~inside])


def test_blur_keeps_the_sum_and_has_the_width_asked_for():
    point = torch.zeros(1, 1, 41, 41)
    point[0, 0, 20, 20] = 1
    blurred = gaussian_blur(point, 2.0)
    assert float(blurred.sum()) == pytest.approx(1, abs=1e-5)
    away = torch.arange(41.0) - 20
    for axis in (2, 3):
        profile = blurred.sum(dim=5 - axis)[0, 0]
        assert float((profile * away**2).sum()) == pytest.approx(4, rel=0.05)


def test_seed_and_number_of_the_step_decide_a_batch(sampler):
    def made(seed, number):
        return augmented_batch(sampler, 4, 0.5, AugmentSettings(), step_rng(seed, number))

    first, first_masks = made(0, 7)
    same, same_masks = made(0, 7)
    assert torch.equal(first, same)
    assert torch.equal(first_masks, same_masks)
    assert first.shape == (4, 1, 128, 128)
    assert first_masks.shape == (4, 2, 128, 128)
    assert not torch.equal(first, made(0, 8)[0])
    assert not torch.equal(first, made(1, 7)[0])
