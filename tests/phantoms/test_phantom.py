import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import center_of_mass

from clisc_nnunet.errors import UserError
from clisc_nnunet.phantoms.anatomy import TISSUES, Anatomy, load_anatomies, mni152_anatomy
from clisc_nnunet.phantoms.head import make_grid
from clisc_nnunet.phantoms.phantom import make_phantom
from clisc_nnunet.phantoms.random_fields import smooth_noise
from clisc_nnunet.phantoms.scanner import field_of_view
from clisc_nnunet.phantoms.settings import (
    UNSEEN_KINDS,
    PhantomSettings,
    ScannerSettings,
    TumourSettings,
)
from clisc_nnunet.phantoms.tumour import TumourSite
from clisc_nnunet.phantoms.tumour_appearance import appearance

ALWAYS = replace(PhantomSettings(), tumour=TumourSettings(free=0.0))
NEVER = replace(PhantomSettings(), tumour=TumourSettings(free=1.0))


@pytest.fixture(scope="module")
def mni():
    return mni152_anatomy(4.0)


def test_tissues_of_mni152_share_the_voxels(mni):
    shares = mni.tissues.astype(int).sum(axis=0)
    assert mni.tissues.shape[0] == len(TISSUES)
    assert shares.max() <= 255 + len(TISSUES)  # rounding
    litres = (mni.tissues[:4] / 255).sum() * 4.0**3 / 1e6
    assert 1.2 < litres < 2.2  # MNI152 is larger than most heads


def test_mni152_axes(mni):
    """The cerebellum is low and at the back; the ventricles lie near the middle."""
    brain = mni.tissues[:4].sum(axis=0) > 127
    lowest = np.argwhere(brain)[:40]
    assert lowest[:, 1].mean() > np.argwhere(brain)[:, 1].mean()
    ventricle = np.argwhere(mni.tissues[0] > 127)
    assert abs(ventricle[:, 2].mean() - mni.tissues.shape[3] / 2) < 3


def test_same_seed_same_phantom(mni):
    first, second, other = (make_phantom(seed, [mni], ALWAYS) for seed in (3, 3, 4))
    assert np.array_equal(first.flair, second.flair)
    assert np.array_equal(first.tumour, second.tumour)
    assert first.facts == second.facts
    assert not np.array_equal(first.flair, other.flair)


@pytest.mark.parametrize("seed", range(4))
def test_tumour_lies_in_the_head_and_is_brighter(mni, seed):
    phantom = make_phantom(seed, [mni], ALWAYS)
    head = phantom.flair > 0
    assert phantom.tumour.any()
    assert not (phantom.tumour & ~head).any()
    bright = np.percentile(phantom.flair[phantom.tumour], 75)
    assert bright > 1.1 * np.median(phantom.flair[head & ~phantom.tumour])
    assert phantom.facts["tumour_ml"] == pytest.approx(phantom.tumour.sum() * 0.064, abs=0.06)


def test_no_tumour_no_label(mni):
    phantom = make_phantom(1, [mni], NEVER)
    assert phantom.facts["kind"] == "none"
    assert not phantom.tumour.any()


def test_fluid_is_dark_in_flair(mni):
    phantom = make_phantom(2, [mni], NEVER)
    inside = phantom.flair[phantom.flair > 0]
    # Ventricles and sulci: a tail of dark voxels far below the bulk of grey and white matter.
    assert np.percentile(inside, 1) < 0.6 * np.median(inside)


def test_smooth_noise_is_standardised_and_smooth():
    noise = smooth_noise((40, 60, 80), 4, np.random.default_rng(0))
    assert noise.dtype == np.float32
    assert noise.std() == pytest.approx(1, abs=1e-3)
    slope = np.diff(noise, axis=2)
    assert np.abs(slope).max() < 0.6
    # A crease is a slope that changes from one voxel to the next.
    assert np.abs(np.diff(slope, axis=2)).max() < 0.5 * np.abs(slope).max()


@pytest.mark.parametrize("seed", range(6))
def test_field_of_view_cuts_off_one_end(mni, seed):
    settings = ScannerSettings(cut_field_of_view=1.0)
    positions = make_grid(mni).positions
    seen = field_of_view(positions, settings, np.random.default_rng(seed))
    assert 0.5 < seen.mean() < 0.95
    # What is missing lies on one side of a plane through the head.
    away = positions[~seen].mean(axis=0) - positions[seen].mean(axis=0)
    assert (positions[~seen] @ away).min() > np.percentile(positions[seen] @ away, 80)


def test_the_field_of_view_can_be_complete(mni):
    settings = ScannerSettings(cut_field_of_view=0.0)
    positions = make_grid(mni).positions
    assert field_of_view(positions, settings, np.random.default_rng(0)).all()


def test_a_phantom_has_a_brain_mask(mni):
    phantom = make_phantom(6, [mni], ALWAYS)
    assert not (phantom.tumour & ~phantom.brain).any()
    assert not (phantom.brain & (phantom.flair == 0)).any()
    assert phantom.brain.sum() > 0.9 * (phantom.flair > 0).sum()


@pytest.mark.parametrize("settings", [PhantomSettings(), UNSEEN_KINDS])
def test_tumour_volumes_are_within_the_limits(mni, settings):
    low, high = settings.tumour.volume_ml
    volumes = [make_phantom(seed, [mni], settings).facts["tumour_ml"] for seed in range(8)]
    assert all(v == 0 or low <= v <= high for v in volumes)
    assert len(set(volumes)) > 4


def test_further_attempts_do_not_change_the_share_without_tumour(mni):
    """About a third of the tumours have 100 to 200 ml; the others are generated again."""
    settings = TumourSettings(free=0.5, volume_ml=(100.0, 200.0))
    settings = replace(PhantomSettings(), tumour=settings)
    free = [make_phantom(seed, [mni], settings).facts["kind"] == "none" for seed in range(30)]
    assert 9 <= sum(free) <= 21


KINDS = ("core", "cyst", "mottled")


def _alone(kind, **more):
    """Settings for tumours of one kind, without other variation."""
    shares = {name: float(name == kind) for name in KINDS}
    plain = {"faint": 0.0, "fading": 0.0, "dull_half": 0.0, **more}
    return TumourSettings(**shares, **plain)


def _look(settings, seed=0):
    """Intensity in a ball of radius 1, its distance, and its kind; brain is about 1."""
    anatomy = Anatomy("none", np.zeros((len(TISSUES), 40, 40, 40), np.uint8), 2.0)
    grid = make_grid(anatomy)
    distance = np.sqrt((grid.positions**2).sum(axis=-1)).astype(np.float32) / 30
    place = TumourSite(np.zeros(3, np.float32), distance)
    rng = np.random.default_rng(seed)
    value, kind = appearance(grid, place, distance, np.zeros(grid.shape), 1.0, settings, rng)
    return value, distance, kind


def test_a_solid_tumour_is_bright_everywhere():
    value, distance, kind = _look(_alone("none"))
    assert kind == "solid"
    assert value[distance < 1].min() > 1.0


@pytest.mark.parametrize("seed", range(4))
def test_a_cyst_is_dark_behind_a_bright_rim(seed):
    value, distance, kind = _look(_alone("cyst"), seed)
    assert kind == "cyst"
    assert np.median(value[(distance > 0.95) & (distance < 1)]) > 1.0
    assert np.percentile(value[distance < 0.5], 10) < 0.6


def test_a_mottled_tumour_has_darker_spots_of_its_own():
    spread = {}
    for kind in ("mottled", "none"):
        values = [v[d < 1] for v, d, _ in (_look(_alone(kind), seed) for seed in range(6))]
        spread[kind] = np.mean([v.std() / v.mean() for v in values])
    assert spread["mottled"] > 1.5 * spread["none"]


def test_fading_tumours_are_faint_at_the_outline():
    value, distance, kind = _look(_alone("none", fading=1.0, brightness=(1.8, 1.8)))
    assert kind == "solid, fading"
    rim = value[(distance > 0.95) & (distance < 1)].mean()
    assert 1.0 < rim < 0.9 * value[distance < 0.2].mean()


def test_a_folder_without_label_maps_is_reported(tmp_path):
    with pytest.raises(UserError, match="no label maps"):
        load_anatomies(tmp_path)


RADII = np.array([0, 6, 22, 30, 33, 38])


def _balls(values, path):
    """A synthetic head as label map: concentric fat, skull, grey matter, white matter and fluid."""
    radius = np.sqrt(sum((np.indices((96, 96, 96)) - 47.5) ** 2))
    labels = np.select([radius < outer for outer in RADII[1:]], values, 0)
    image = sitk.GetImageFromArray(labels.astype(np.uint8))
    image.SetSpacing((1.0, 1.0, 1.0))
    sitk.WriteImage(image, str(path))


def _millilitres(anatomy, where=slice(None)):
    voxel_ml = anatomy.spacing_mm**3 / 1000
    shares = [tissue[where].sum() / 255 * voxel_ml for tissue in anatomy.tissues]
    return dict(zip(TISSUES, shares, strict=True))


def _distance_mm(anatomy):
    """Distance of each voxel from the centre of the volume."""
    shape = anatomy.tissues.shape[1:]
    steps = (i - (n - 1) / 2 for i, n in zip(np.indices(shape), shape, strict=True))
    return np.sqrt(sum(step**2 for step in steps)) * anatomy.spacing_mm


def test_brainweb_values_become_tissues(tmp_path):
    _balls([1, 3, 2, 7, 4], tmp_path / "brainweb_made_up.nii.gz")
    (anatomy,) = load_anatomies(tmp_path, spacing_mm=2.0)
    expected = 4 / 3 * np.pi * np.diff(RADII**3) / 1000
    found = _millilitres(anatomy)
    assert found["white"] == pytest.approx(expected[1], rel=0.1)
    assert found["grey"] == pytest.approx(expected[2], rel=0.1)
    assert found["scalp"] == pytest.approx(expected[4], rel=0.15)
    deep = _millilitres(anatomy, _distance_mm(anatomy) < 12)
    assert deep["ventricle"] + deep["csf"] == pytest.approx(expected[0], rel=0.25)


def test_closing_keeps_position_and_size_of_the_brain(tmp_path):
    _balls([1, 3, 2, 7, 4], tmp_path / "brainweb_made_up.nii.gz")
    (anatomy,) = load_anatomies(tmp_path, spacing_mm=2.0)
    fluid = anatomy.tissues[:2].sum(axis=0, dtype=float) * (_distance_mm(anatomy) > 12)
    # The closing works at half resolution; what it adds must be thin, and alike on all sides.
    rim_mm = fluid.sum() / 255 * 8 / (4 * np.pi * RADII[3] ** 2)
    assert rim_mm < 0.2
    brain = anatomy.tissues[:4].sum(axis=0, dtype=float)
    middle = (np.array(brain.shape) - 1) / 2
    assert center_of_mass(brain) == pytest.approx(middle, abs=0.02)


def test_synthseg_lesions_are_white_matter(tmp_path):
    """Lesions in the label maps must not become fluid-filled holes."""
    _balls([4, 25, 3, 245, 246], tmp_path / "synthseg_plain.nii.gz")
    index = {"4": 4, "25": 25, "3": 3, "245": 501, "246": 502}
    (tmp_path / "synthseg_label_index.json").write_text(json.dumps(index))
    (anatomy,) = load_anatomies(tmp_path, spacing_mm=2.0)
    expected = 4 / 3 * np.pi * np.diff(RADII**3) / 1000
    found = _millilitres(anatomy)
    assert found["white"] == pytest.approx(expected[1], rel=0.1)
    assert found["ventricle"] == pytest.approx(expected[0], rel=0.25)


def test_synthseg_maps_need_their_index(tmp_path):
    _balls([4, 25, 3, 245, 246], tmp_path / "synthseg_plain.nii.gz")
    with pytest.raises(UserError, match=r"synthseg_label_index\.json"):
        load_anatomies(tmp_path)


def test_a_map_without_grey_matter_is_reported(tmp_path):
    _balls([1, 3, 3, 7, 4], tmp_path / "brainweb_made_up.nii.gz")
    with pytest.raises(UserError, match=r"brainweb_made_up.*found no grey matter"):
        load_anatomies(tmp_path)


def test_an_unreadable_file_is_reported(tmp_path):
    (tmp_path / "brainweb_made_up.nii.gz").write_text("no image")
    with pytest.raises(UserError, match=r"brainweb_made_up.*SimpleITK cannot read"):
        load_anatomies(tmp_path)
