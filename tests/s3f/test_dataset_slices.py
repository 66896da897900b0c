"""Slices of stage 1 found again, and not those of another scan or of other settings."""

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers.cases import extract_into

from clisc_nnunet.io.volume import write_volume
from clisc_nnunet.pipeline.result_cache import Fingerprint, ResultCache
from clisc_nnunet.pipeline.serialization import pack_stack
from clisc_nnunet.s3f.dataset_slices import DatasetSlices
from clisc_nnunet.settings import SliceSettings
from clisc_nnunet.stages.slice_extraction import make_slices

SETTINGS = SliceSettings(plane_mm=8.0)


@pytest.fixture
def cut(head, tmp_path):
    """Slices of a head with a given brain mask, its front half; the store, and the mask."""
    volume, _ = head
    core = volume.array > 0
    core[:, :30] = False
    for name, array in (("scan", volume.array), ("brain", core)):
        write_volume(tmp_path / f"{name}.nii.gz", array, volume.geometry)
    cache, fingerprint = (
        ResultCache(tmp_path / "clisc" / "stages"),
        Fingerprint("scan", SETTINGS, "mask"),
    )
    scan, brain = tmp_path / "scan.nii.gz", tmp_path / "brain.nii.gz"
    extract_into(cache, "a", scan, SETTINGS, fingerprint, brain)
    return cache, core


def test_they_are_the_ones_that_sam_saw(cut, head, tmp_path):
    _, core = cut
    found = DatasetSlices(tmp_path / "clisc", SETTINGS).find("a", head[0].geometry)
    expected = make_slices(head[0], SETTINGS, core)
    assert np.array_equal(found.pixels, expected.pixels)
    assert np.array_equal(found.brain, expected.brain)
    assert found.geometry == expected.geometry


def test_rounding_in_a_header_is_ignored_and_another_scan_is_not(cut, head, tmp_path):
    kept, grid = DatasetSlices(tmp_path / "clisc", SETTINGS), head[0].geometry
    x, y, z = grid.origin
    assert kept.find("a", replace(grid, origin=(x + 1e-4, y, z))) is not None
    assert kept.find("a", replace(grid, origin=(x + 1, y, z))) is None
    assert kept.find("a", replace(grid, size=(70, 80, 61))) is None
    assert kept.find("b", grid) is None


def test_other_settings_and_other_places_have_none(cut, head, tmp_path):
    grid = head[0].geometry
    assert (
        DatasetSlices(tmp_path / "clisc", replace(SETTINGS, plane_mm=5.0)).find("a", grid) is None
    )
    assert DatasetSlices(tmp_path / "elsewhere", SETTINGS).find("a", grid) is None


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", None])
def test_what_cannot_be_read_or_says_too_little_is_ignored(cut, head, tmp_path, content):
    cache, _ = cut
    stack = make_slices(head[0], SETTINGS)
    if content is None:  # as an earlier version kept it
        cache.save("a", "slices", Fingerprint("scan", SETTINGS, "mask"), pack_stack(stack))
    else:
        cache.path("a", "slices").write_bytes(content)
    assert DatasetSlices(tmp_path / "clisc", SETTINGS).find("a", head[0].geometry) is None


def test_a_result_is_read_with_its_recipe(tmp_path):
    cache = ResultCache(tmp_path)
    cache.save("a", "slices", Fingerprint("x", {"n": 1}), {"values": np.arange(3)})
    arrays, fingerprint = cache.load_any("a", "slices")
    assert arrays["values"].tolist() == [0, 1, 2]
    assert fingerprint == json.loads(Fingerprint("x", {"n": 1}).text)
    cache.save("a", "slices", "signed", {"values": np.arange(3)})
    assert cache.load_any("a", "slices") is None and cache.load_any("b", "slices") is None
