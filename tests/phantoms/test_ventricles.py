from dataclasses import replace

import numpy as np
import pytest

from clisc_nnunet.phantoms.anatomy import mni152_anatomy
from clisc_nnunet.phantoms.head import make_grid
from clisc_nnunet.phantoms.phantom import make_phantom
from clisc_nnunet.phantoms.settings import (
    ContrastSettings,
    HeadSettings,
    PhantomSettings,
    TumourSettings,
)
from clisc_nnunet.phantoms.ventricles import (
    FAR_MM,
    caps,
    distance_to_lateral_ventricles,
    widen_ventricles,
)

SPACING_MM = 3.0


@pytest.fixture(scope="module")
def mni():
    return mni152_anatomy(SPACING_MM)


@pytest.fixture(scope="module")
def tissues(mni):
    return mni.tissues.astype(np.float32) / 255


@pytest.fixture(scope="module")
def distance(tissues):
    return distance_to_lateral_ventricles(tissues, SPACING_MM)


def rng():
    return np.random.default_rng(0)


def test_lateral_ventricles_are_a_pair_and_not_a_fissure(tissues, distance):
    inside = np.argwhere(distance == 0)
    millilitres = len(inside) * SPACING_MM**3 / 1000
    assert 5 < millilitres < 40
    middle = (tissues.shape[3] - 1) / 2
    left, right = (inside[:, 2] > middle).sum(), (inside[:, 2] < middle).sum()
    assert 0.6 < left / right < 1.7
    # The fissure reaches the top of the brain, the ventricles do not.
    brain = np.argwhere(tissues[:4].sum(axis=0) > 0.5)[:, 0]
    assert inside[:, 0].max() < brain.min() + 0.75 * (brain.max() - brain.min())


def test_distances_are_millimetres_up_to_a_limit(distance):
    assert distance.dtype == np.float32
    assert distance.max() == FAR_MM
    plane, row, column = np.argwhere(distance == 0)[0]
    steps = distance[plane, row, column + 1 :]
    assert (np.diff(steps) <= SPACING_MM + 1e-3).all()


def test_a_head_without_ventricles_is_far_from_them(tissues):
    dry = tissues.copy()
    dry[0] = 0
    assert (distance_to_lateral_ventricles(dry, SPACING_MM) == FAR_MM).all()


def test_wide_ventricles_take_the_place_of_brain(tissues, distance):
    settings = HeadSettings(wide_ventricles=1.0, widen_mm=(4.0, 4.0))
    widened, shorter = widen_ventricles(tissues, distance, settings, rng())
    assert widened.sum(axis=0) == pytest.approx(tissues.sum(axis=0), abs=1e-4)
    assert widened[0].sum() > 1.3 * tissues[0].sum()
    far = distance > 15
    assert widened[:, far] == pytest.approx(tissues[:, far], abs=1e-4)
    assert (shorter <= distance).all()


def test_not_every_head_has_wide_ventricles(tissues, distance):
    same, there = widen_ventricles(tissues, distance, HeadSettings(wide_ventricles=0.0), rng())
    assert same is tissues
    assert there is distance


def test_caps_are_bright_white_matter_at_the_horns(mni, tissues, distance):
    settings = ContrastSettings(caps_mm=(10.0, 10.0), caps_brightness=(0.5, 0.5))
    added = caps(make_grid(mni), tissues, distance, settings, rng())
    assert 0.2 < added.max() < 1.0
    assert added[distance > 25].max() < 0.01
    assert added[tissues[0] > 0.9].max() < 0.05
    rows = np.flatnonzero((distance == 0).any(axis=(0, 2)))
    third = len(rows) // 3
    per_row = added.sum(axis=(0, 2))
    body = per_row[rows[third] : rows[2 * third]].mean()
    tips = np.concatenate([per_row[rows[:third]], per_row[rows[-third:]]]).mean()
    assert tips > 1.5 * body


def test_caps_are_narrower_than_the_distance_limit(mni, tissues, distance):
    """Distances are limited: a cap beyond the limit would extend everywhere."""
    settings = ContrastSettings(caps_mm=(40.0, 40.0), caps_brightness=(1.0, 1.0))
    wide = HeadSettings(wide_ventricles=1.0, widen_mm=(8.0, 8.0))
    tissues, distance = widen_ventricles(tissues, distance, wide, rng())
    added = caps(make_grid(mni), tissues, distance, settings, rng())
    assert added.max() > 0.5
    assert added[distance == FAR_MM].max() < 0.02


def test_caps_are_never_labelled(mni):
    settings = replace(
        PhantomSettings(),
        contrast=ContrastSettings(caps=1.0),
        tumour=TumourSettings(free=1.0),
    )
    assert not make_phantom(5, [mni], settings).tumour.any()
