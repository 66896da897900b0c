import numpy as np
import pytest
from helpers.balls import TUMOUR_GREY, ball_volume

from clisc_nnunet.bundled.phantom_set import TrainingVolume
from clisc_nnunet.bundled.slice_sampler import MIN_TUMOUR_PIXELS, SliceSampler


@pytest.fixture(scope="module")
def volumes():
    return [ball_volume(k, tumour=k % 2 == 1) for k in range(4)]


@pytest.mark.parametrize(("share", "least", "most"), [(0, 0, 0), (0.5, 0.25, 0.75), (1, 1, 1)])
def test_so_many_slices_show_a_tumour_as_asked_for(volumes, share, least, most):
    batch = SliceSampler(volumes).draw(40, share, np.random.default_rng(0))
    assert batch.pixels.shape == batch.tumour.shape == batch.neighbour.shape == (40, 128, 128)
    area = batch.tumour.sum(axis=(1, 2))
    assert least <= (area > 0).mean() <= most
    assert not ((area > 0) & (area < MIN_TUMOUR_PIXELS)).any()
    assert ((batch.pixels == TUMOUR_GREY) == batch.tumour).all()


def test_the_seed_decides(volumes):
    sampler = SliceSampler(volumes)
    first, same, other = (sampler.draw(6, 0.5, np.random.default_rng(s)) for s in (1, 1, 2))
    assert np.array_equal(first.pixels, same.pixels)
    assert np.array_equal(first.neighbour, same.neighbour)
    assert not np.array_equal(first.pixels, other.pixels)


def test_views_come_in_their_shares(volumes):
    """Axial slices of these brains are 100 pixels high, coronal and sagittal ones 56."""
    batches = [
        SliceSampler(volumes, views=views).draw(30, 0.5, np.random.default_rng(0))
        for views in ((1.0, 0.0, 0.0), (0.0, 0.5, 0.5))
    ]
    axial, others = ((b.pixels > 0).any(axis=2).sum(axis=1) for b in batches)
    assert axial.max() > 90
    assert 40 < others.max() <= 57


def test_the_neighbour_is_one_to_three_planes_away():
    """Each plane's tumour is a square as wide as the number of the plane."""
    pixels = np.full((60, 128, 128), 90, np.uint8)
    tumour = np.zeros(pixels.shape, bool)
    for plane in range(8, 60):
        tumour[plane, :plane, :plane] = True
    sampler = SliceSampler([TrainingVolume(pixels, tumour)], views=(1.0, 0.0, 0.0))
    batch = sampler.draw(50, 1.0, np.random.default_rng(0))
    here, beside = (np.sqrt(m.sum(axis=(1, 2))) for m in (batch.tumour, batch.neighbour))
    steps = set((beside - here)[(here > 11) & (here < 57)].tolist())
    assert steps == {-3, -2, -1, 1, 2, 3}


def test_planes_larger_than_the_frame_are_cropped_about_their_centre(volumes):
    batch = SliceSampler(volumes, side=64).draw(4, 0.5, np.random.default_rng(0))
    assert batch.pixels.shape == (4, 64, 64)
    whole = SliceSampler(volumes).draw(4, 0.5, np.random.default_rng(0))
    assert np.array_equal(batch.pixels, whole.pixels[:, 32:96, 32:96])


@pytest.mark.parametrize(("tumour", "share", "word"), [(False, 1, "with"), (True, 0, "without")])
def test_slices_that_no_volume_has_are_reported(tumour, share, word):
    everywhere = TrainingVolume(np.full((40, 40, 40), 90, np.uint8), np.full((40,) * 3, tumour))
    with pytest.raises(ValueError, match=f"no volume has a slice {word} a tumour"):
        SliceSampler([everywhere], side=64).draw(1, share, np.random.default_rng(0))
