from dataclasses import replace

import numpy as np
import pytest

from clisc_nnunet.phantoms.anatomy import mni152_anatomy
from clisc_nnunet.phantoms.head import make_grid
from clisc_nnunet.phantoms.lesions import add_lesions
from clisc_nnunet.phantoms.phantom import make_phantom
from clisc_nnunet.phantoms.settings import KINDS, LesionSettings, PhantomSettings
from clisc_nnunet.phantoms.ventricles import distance_to_lateral_ventricles

SPACING_MM = 3.0


@pytest.fixture(scope="module")
def mni():
    return mni152_anatomy(SPACING_MM)


@pytest.fixture(scope="module")
def added(mni):
    """Function that gives what lesions change in an image of ones, and the distance map."""
    tissues = mni.tissues.astype(np.float32) / 255
    distance = distance_to_lateral_ventricles(tissues, SPACING_MM)
    image = np.ones(tissues.shape[1:], np.float32)

    def change(seed=0, **settings):
        rng = np.random.default_rng(seed)
        found = add_lesions(
            image, make_grid(mni), tissues, distance, LesionSettings(**settings), rng
        )
        assert found.dtype == np.float32
        assert (image == 1).all()
        return found - 1, distance, tissues

    return change


def test_confluent_lesions_lie_along_both_ventricles(added):
    change, distance, _ = added(confluent=1.0)
    bright = change > 0.15
    assert bright.any()
    assert distance[bright].max() < 25
    middle = bright.shape[2] // 2
    left, right = bright[:, :, :middle].sum(), bright[:, :, middle:].sum()
    assert min(left, right) > 0.1 * max(left, right)


def test_plaques_are_many_and_small(added):
    from clisc_nnunet.stages.connected_components import count_components

    change, _, tissues = added(plaques=1.0, plaque_count=(20, 21))
    bright = change > 0.15
    assert count_components(bright) >= 6
    assert bright.sum() * SPACING_MM**3 / 1000 < 60
    assert tissues[0][bright].max() < 0.9


def test_infarcts_lie_at_the_cortex_and_are_bright_or_fluid(added):
    changes = [added(seed, infarcts=1.0)[0] for seed in range(6)]
    _, _, tissues = added(infarcts=1.0)
    assert max(change.max() for change in changes) > 0.2
    assert min(change.min() for change in changes) < -0.3
    near = [tissues[2][np.abs(change) > 0.2].max() for change in changes]
    assert min(near) > 0.5


def test_a_cavity_is_dark_and_reaches_the_surface(added):
    change, _, tissues = added(cavity=1.0)
    dark = change < -0.3
    brain = tissues[:4].sum(axis=0) > 0.5
    assert dark.any()
    assert (dark & ~brain).any() and (dark & brain).any()


@pytest.mark.parametrize("kind", ["sclerosis", "vascular"])
def test_lesions_are_never_labelled(mni, kind):
    settings = replace(KINDS[kind], tumour=replace(KINDS[kind].tumour, free=1.0))
    assert not make_phantom(7, [mni], settings).tumour.any()


def test_phantoms_without_lesions_are_those_of_earlier_versions(mni):
    """No random number is drawn for what is not asked for."""
    rng = np.random.default_rng(3)
    state = rng.bit_generator.state
    image = np.ones((4, 4, 4), np.float32)
    same = add_lesions(image, None, None, None, PhantomSettings().lesions, rng)
    assert np.array_equal(same, image)
    assert rng.bit_generator.state == state
