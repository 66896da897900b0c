"""Labels as ITK-SNAP, 3D Slicer and scripts save them."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from helpers.acquisitions import turned
from helpers.nifti_files import write_nifti

from clisc_nnunet.dataset_conversion.label_files import agreed_label, label_files, read_label
from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.volume import Geometry, Volume, write_volume

SQUARE = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
GRID = Geometry((6, 5, 4), (1.0, 1.5, 3.0), (-20.0, 30.0, 10.0), SQUARE)
MASK = np.zeros(GRID.shape, np.uint8)
MASK[1:3, 2:4, 1:5] = 1
MASK[1, 2, 1] = 0  # not symmetric


def test_files_of_a_case_are_found_by_their_endings(tmp_path):
    names = ["a.nii", "a.nii.gz", "b.c.seg.nrrd", "d.mha", "e.NII.GZ", ".f.nii.gz", "g.txt"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "h.nii.gz").mkdir()
    found = {case: [path.name for path in paths] for case, paths in label_files(tmp_path).items()}
    expected = {"a": ["a.nii.gz", "a.nii"], "b.c": ["b.c.seg.nrrd"], "d": ["d.mha"]}
    assert found == expected | {"e": ["e.NII.GZ"]}
    assert label_files(tmp_path / "nowhere") == {}


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".seg.nrrd", ".mha"])
def test_every_format_is_read(tmp_path, ending):
    write_volume(tmp_path / f"a{ending}", MASK, GRID)
    label = read_label(tmp_path / f"a{ending}", GRID)
    np.testing.assert_array_equal(label.mask, MASK == 1)
    assert (label.notes, label.usable_as_is) == ((), ending == ".nii.gz")


@pytest.mark.parametrize("orientation", ["RAS", "LPI", "SAR"])
def test_another_orientation_is_put_back(tmp_path, orientation):
    returned = turned(Volume(MASK, GRID), orientation)
    write_volume(tmp_path / "a.nii.gz", returned.array, returned.geometry)
    label = read_label(tmp_path / "a.nii.gz", GRID)
    np.testing.assert_array_equal(label.mask, MASK == 1)
    assert label.notes == ("put back into the orientation of its scan",)
    assert not label.usable_as_is


def test_the_minimum_extent_is_put_back(tmp_path):
    shifted = replace(GRID, size=(4, 2, 1), origin=(-19.0, 33.0, 13.0))
    write_volume(tmp_path / "a.seg.nrrd", MASK[1:2, 2:4, 1:5], shifted)
    label = read_label(tmp_path / "a.seg.nrrd", GRID)
    expected = MASK == 1
    expected[2] = False
    np.testing.assert_array_equal(label.mask, expected)
    assert label.notes == ("put back from 4 x 2 x 1 voxels onto the grid of its scan",)


def test_another_value_is_written_again_and_not_used_as_it_is(tmp_path):
    write_volume(tmp_path / "a.nii.gz", MASK * 255, GRID)
    label = read_label(tmp_path / "a.nii.gz", GRID)
    assert label.mask.sum() == MASK.sum() and not label.usable_as_is


def refusal(path, array, geometry):
    write_volume(path, array, geometry)
    with pytest.raises(ScanError) as raised:
        read_label(path, GRID)
    return raised.value


def test_the_direction_is_named_where_it_alone_differs(tmp_path):
    flipped = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
    error = refusal(tmp_path / "a.nrrd", MASK, replace(GRID, direction=flipped))
    assert error.found == "a corrected label of direction RAS (-1 0 0 0 -1 0 0 0 1)"
    assert error.expected == "the grid of its scan: direction LPS (1 0 0 0 1 0 0 0 1)"


def test_whatever_differs_is_named(tmp_path):
    error = refusal(tmp_path / "a.nrrd", MASK, replace(GRID, origin=(0.0, 0.0, 0.0)))
    assert "at 0 x 0 x 0" in error.found and "direction" not in error.found
    assert "at -20 x 30 x 10" in error.expected
    array = np.zeros((7, 5, 6), np.uint8)
    array[0] = 1
    longer = replace(GRID, size=(6, 5, 7), origin=(-20.0, 30.0, 1.0))
    error = refusal(tmp_path / "b.nrrd", array, longer)
    assert error.found == "30 labelled voxels outside of its scan"


def test_a_label_that_was_cut_short_is_refused(tmp_path):
    path = tmp_path / "a.nii.gz"
    write_volume(path, MASK, GRID)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ScanError, match="cannot be read"):
        read_label(path, GRID)


def test_fewer_voxels_than_the_header_states_are_refused(tmp_path):
    path = write_nifti(
        tmp_path / "a.nii", MASK.transpose(2, 1, 0), fields={"dim": [3, 6, 5, 9, *[1] * 4]}
    )
    with pytest.raises(ScanError, match="instead of the"):
        read_label(path, GRID)


def test_overlapping_segments_are_refused(tmp_path):
    image = sitk.GetImageFromArray(np.stack([MASK, MASK], -1), isVector=True)
    sitk.WriteImage(image, str(tmp_path / "a.seg.nrrd"))
    with pytest.raises(ScanError, match=r"segments that overlap.*export the tumour as a labelmap"):
        read_label(tmp_path / "a.seg.nrrd", GRID)


def test_several_files_of_a_case_must_agree(tmp_path):
    paths = [tmp_path / "a.nii.gz", tmp_path / "a.seg.nrrd"]
    for path in paths:
        write_volume(path, MASK, GRID)
    assert agreed_label(paths, GRID).path == paths[0]
    write_volume(paths[1], 1 - MASK, GRID)
    with pytest.raises(ScanError, match=r"a\.seg\.nrrd: found another label than a\.nii\.gz"):
        agreed_label(paths, GRID)
