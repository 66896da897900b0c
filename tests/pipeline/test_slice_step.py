"""Stage 1 from files."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from helpers.acquisitions import turned
from helpers.cases import make_config
from helpers.nifti_files import affine, write_forms

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.volume import read_volume, write_volume
from clisc_nnunet.pipeline.case_tracker import CaseTracker
from clisc_nnunet.pipeline.config import CaseInput
from clisc_nnunet.pipeline.result_cache import ResultCache
from clisc_nnunet.pipeline.run_step import run_step
from clisc_nnunet.pipeline.serialization import pack_stack, unpack_stack
from clisc_nnunet.pipeline.slice_step import EXTRACT_SLICES, check_channels, extract_slices
from clisc_nnunet.processes import local_pool
from clisc_nnunet.settings import SliceSettings
from clisc_nnunet.stages.slice_extraction import make_slices

# The synthetic head has no skull.
GIVEN = SliceSettings(brain="given")


@pytest.fixture
def cache(tmp_path):
    return ResultCache(tmp_path / "clisc" / "stages")


@pytest.fixture
def scan(head, tmp_path):
    """The head in a file, acquired from front to back."""
    acquired = turned(head[0], "PIR")
    path = tmp_path / "scan.nii.gz"
    write_volume(path, acquired.array, acquired.geometry)
    return path


def extract(cache, path, settings=GIVEN, brain=None):
    """Arrays of stage 1, the files it read, and the reason of a failure."""
    tracker = CaseTracker(cache, cases=["case"])
    case = CaseInput("case", path, brain_mask=brain, digests={path: "content"})
    with local_pool(1) as pool:
        done = run_step(EXTRACT_SLICES, [case], make_config(cache, settings), tracker, pool)
    if tracker.failures:
        return None, None, tracker.failures["case"]
    arrays = cache.require("case", "slices", tracker.signatures["case", "slices"])
    return arrays, done["case"].files_read, None


def test_a_stack_survives_the_cache(head, cache):
    stack = make_slices(head[0], GIVEN)
    cache.save("case", "slices", "abc", pack_stack(stack))
    again = unpack_stack(cache.require("case", "slices", "abc"))
    assert np.array_equal(again.pixels, stack.pixels)
    assert np.array_equal(again.brain, stack.brain)
    assert again.brain.dtype == bool
    assert again.geometry == stack.geometry


def test_slices_are_extracted_and_the_files_read_are_known(scan, cache):
    arrays, read, _ = extract(cache, scan)
    assert read == (str(scan),)
    stack = unpack_stack(arrays)
    assert np.array_equal(stack.pixels, make_slices(read_volume(scan), GIVEN).pixels)


def test_a_scan_that_cannot_be_used_leaves_only_its_failure(scan, cache):
    scan.write_bytes(scan.read_bytes()[:5000])
    _, _, failure = extract(cache, scan)
    assert "scan.nii.gz: found a file that cannot be read (5000" in failure
    assert [path.name for path in cache.root.rglob("*.*")] == ["failure.json"]


def test_a_speck_is_no_brain(head, cache, tmp_path):
    volume, _ = head
    array = np.zeros_like(volume.array)
    array[30, 40, 35] = 9.0
    write_volume(tmp_path / "speck.nii.gz", array, volume.geometry)
    assert "no plane with brain" in extract(cache, tmp_path / "speck.nii.gz")[2]


def test_slices_of_a_scan_with_skull_show_its_brain(head, cache, tmp_path, monkeypatch):
    volume, _ = head
    core = volume.array > 0
    core[:, :20] = False
    monkeypatch.setattr(
        "clisc_nnunet.pipeline.slice_step.extract_brain", lambda scan, settings: core
    )
    path = tmp_path / "scan.nii.gz"
    write_volume(path, volume.array, volume.geometry)
    arrays, _, _ = extract(cache, path, SliceSettings())
    expected = make_slices(read_volume(path), SliceSettings(), core)
    assert arrays["brain_share"] == pytest.approx(core.sum() / (volume.array != 0).sum())
    assert np.array_equal(unpack_stack(arrays).pixels, expected.pixels)


def test_a_given_brain_takes_the_place_of_the_extracted_one(head, cache, tmp_path):
    volume, _ = head
    core = volume.array > 0
    core[:, :20] = False
    scan, brain = tmp_path / "scan.nii.gz", tmp_path / "brain.nii.gz"
    write_volume(scan, volume.array, volume.geometry)
    write_volume(brain, core, volume.geometry)
    settings = SliceSettings(brain="extracted")
    arrays, read, _ = extract(cache, scan, settings, brain)
    assert read == (str(scan), str(brain))
    expected = make_slices(volume, settings, core).pixels
    assert np.array_equal(unpack_stack(arrays).pixels, expected)


def test_a_missing_brain_mask_is_an_error(scan, tmp_path):
    config = make_config(ResultCache(tmp_path / "stages"), GIVEN)
    case = CaseInput("case", scan, brain_mask=tmp_path / "none.nii.gz", digests={scan: "x"})
    with pytest.raises(ScanError, match="a brain mask for each case"):
        EXTRACT_SLICES.fingerprint(config, case, ())
    with pytest.raises(ScanError):
        extract_slices(config, case)


@pytest.mark.parametrize(
    ("shift", "cut", "message"),
    [(0.0, None, None), (3.0, None, "expected the scan's"), (0.0, 900, "cannot be read")],
)
def test_other_channels_must_be_readable_and_lie_on_the_same_voxels(
    head, cache, tmp_path, shift, cut, message
):
    volume, _ = head
    scan, other = tmp_path / "scan.nii.gz", tmp_path / "t1.nii.gz"
    write_volume(scan, volume.array, volume.geometry)
    x, y, z = volume.geometry.origin
    write_volume(other, volume.array, replace(volume.geometry, origin=(x + shift, y, z)))
    other.write_bytes(other.read_bytes()[:cut])
    case = CaseInput("case", scan, (other, scan))
    expected = pytest.raises(ScanError, match=rf"t1\.nii\.gz: found .*{message}")
    with expected if message else nullcontext():
        assert not check_channels(make_config(cache, GIVEN), case).arrays


def test_repairs_of_other_channels_are_reported_with_their_names(cache, tmp_path):
    scanner, atlas = affine((1, 1.2, 3)), affine((1, 1.2, 3), (20, 30, 40))
    scan, other = (
        write_forms(tmp_path / f"{name}.nii.gz", scanner, sform, codes=(1, 4))
        for name, sform in (("flair", scanner), ("t1", atlas))
    )
    found = check_channels(make_config(cache, GIVEN), CaseInput("case", scan, (other, scan)))
    (line,) = found.repairs
    assert line.startswith(f"{other}: header: qform and sform place voxels up to")
