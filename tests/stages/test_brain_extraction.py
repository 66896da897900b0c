"""Brain extraction in any orientation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.acquisitions import turned
from scipy.ndimage import binary_dilation

from clisc_nnunet.io.volume import Geometry, Volume
from clisc_nnunet.metrics import dice
from clisc_nnunet.models.brain_unet import BrainModel, TinyBrainConfig, load_brain_model
from clisc_nnunet.phantoms.anatomy import mni152_anatomy
from clisc_nnunet.phantoms.phantom import make_phantom
from clisc_nnunet.phantoms.settings import PhantomSettings
from clisc_nnunet.settings import SliceSettings
from clisc_nnunet.stages.brain_extraction import (
    MULTIPLE,
    apply_network,
    coarse_grid,
    extract_brain,
    find_brain,
    scale_head,
)

AXES = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
GEOMETRY = Geometry((90, 100, 70), (2.0, 2.0, 2.5), (5.0, -7.0, 11.0), AXES)
BRAIN_GREY, SCALP_GREY = 100.0, 180.0


class GreyRange(torch.nn.Module):
    """A model that segments voxels about as bright as the synthetic brain, after scaling."""

    def forward(self, values):
        return 0.25 - (values - BRAIN_GREY / SCALP_GREY).abs()


MODEL = BrainModel(GreyRange(), TinyBrainConfig(), "")


def _ball(radius_mm):
    index = np.indices(GEOMETRY.shape, np.float32)
    centre = (np.array(GEOMETRY.shape) - 1) / 2
    spacing = GEOMETRY.spacing[::-1]
    return sum(((i - c) * s) ** 2 for i, c, s in zip(index, centre, spacing, strict=True)) < (
        radius_mm**2
    )


@pytest.fixture
def head():
    """A brain with a radius of 55 mm in dark skull and bright scalp, and its mask."""
    brain = _ball(55)
    grey = np.where(brain, BRAIN_GREY, np.where(_ball(63), 20.0, SCALP_GREY))
    return Volume(np.where(_ball(75), grey, 0.0).astype(np.float32), GEOMETRY), brain


@pytest.mark.parametrize("axes", ["LPS", "PIR", "SAL"])
def test_the_brain_is_found_on_any_axes(head, axes):
    scan, brain = head
    acquired = turned(scan, axes)
    truth = turned(replace(scan, array=brain.astype(np.float32)), axes).array > 0.5
    found = find_brain(acquired, acquired.array != 0, MODEL)
    assert found.shape == truth.shape
    assert dice(found, truth) > 0.95


def test_a_stripped_scan_keeps_its_outline(head):
    scan, brain = head
    # A dark cavity at the rim is no brain to the network, but the outline is the scan's own.
    cavity = brain & (np.indices(brain.shape)[2] < 22)
    stripped = Volume(np.where(cavity, 5.0, np.where(brain, scan.array, 0)), scan.geometry)
    assert 0 < cavity.sum() < 0.15 * brain.sum()
    assert np.array_equal(find_brain(stripped, brain, MODEL), brain)


def test_implausible_volumes_are_rejected(head):
    scan, _ = head
    tiny = Volume(np.where(_ball(20), BRAIN_GREY, SCALP_GREY) * _ball(75), scan.geometry)
    foreground = tiny.array > 0
    assert np.array_equal(find_brain(tiny, foreground, MODEL), foreground)


def test_background_may_have_any_value(head):
    scan, brain = head
    normalised = Volume(
        np.where(scan.array > 0, scan.array - 150, 400).astype(np.float32), GEOMETRY
    )
    found = find_brain(normalised, scan.array > 0, MODEL)
    assert dice(found, brain) > 0.95


def test_extraction_can_be_disabled(head):
    scan, _ = head
    seen = extract_brain(scan, SliceSettings(brain="given"))
    assert np.array_equal(seen, scan.array != 0)


def test_a_scan_of_background_only_has_no_brain():
    empty = Volume(np.zeros(GEOMETRY.shape, np.float32), GEOMETRY)
    assert not extract_brain(empty, SliceSettings()).any()


def test_the_coarse_grid_covers_the_scan_about_its_centre():
    grid = coarse_grid(GEOMETRY, 3.0)
    for axis in range(3):
        extent = GEOMETRY.size[axis] * GEOMETRY.spacing[axis]
        assert grid.size[axis] * 3.0 >= extent
        centres = [
            g.origin[axis] + (g.size[axis] - 1) / 2 * g.spacing[axis] for g in (grid, GEOMETRY)
        ]
        assert centres[0] == pytest.approx(centres[1])


def test_scaling_ignores_units_and_offset():
    values = np.random.default_rng(0).gamma(2.0, 50.0, (20, 20, 20))
    assert scale_head(values).dtype == np.float32
    assert np.allclose(scale_head(values), scale_head(7 * values - 300), atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 5, 9), (16, 17, 40)])
def test_volumes_of_any_shape_are_accepted_by_the_network(shape):
    module = load_brain_model().module
    assert 2 ** (len(TinyBrainConfig().features) - 1) == MULTIPLE
    assert apply_network(module, np.ones(shape, np.float32)).shape == shape


def test_the_bundled_network_on_phantoms_with_and_without_skull():
    phantom = make_phantom(5, [mni152_anatomy(3.0)], PhantomSettings())
    brain = phantom.flair > 0
    skull = binary_dilation(brain, iterations=2)
    scalp = binary_dilation(skull, iterations=2)
    white = np.median(phantom.flair[brain])
    head = np.where(brain, phantom.flair, np.where(skull, 0.15 * white, 1.2 * white)) * scalp
    model = load_brain_model()
    found = find_brain(Volume(head.astype(np.float32), phantom.geometry), scalp, model)
    assert dice(found, brain) > 0.93
    stripped = Volume(phantom.flair, phantom.geometry)
    assert np.array_equal(find_brain(stripped, brain, model), brain)
