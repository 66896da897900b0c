"""Scans of other libraries: the same voxels in the same place."""

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from helpers.acquisitions import tilted
from helpers.nifti_files import noise

from clisc_nnunet.errors import UserError
from clisc_nnunet.io.image_objects import to_nibabel, to_volume
from clisc_nnunet.io.sitk_images import to_sitk
from clisc_nnunet.io.volume import Geometry, read_volume, same_grid

GRID = Geometry((7, 6, 5), (1.0, 1.5, 2.0), (-9.0, 8.0, 7.0), tilted(20))
ARRAY = noise((5, 6, 7))


def test_images_are_as_their_files(tmp_path):
    image = to_sitk(ARRAY, GRID)
    path = tmp_path / "scan.nii.gz"
    sitk.WriteImage(image, str(path))
    expected = read_volume(path)
    for form in (image, nibabel.load(path), path, str(path)):
        found = to_volume(form)
        assert same_grid(found.geometry, expected.geometry)
        np.testing.assert_array_equal(found.array, expected.array)


def test_nibabel_images_come_back_with_their_affine(tmp_path):
    affine = np.array([[0, 0, 2.0, 5], [-1.5, 0, 0, 6], [0, 1.0, 0, 7], [0, 0, 0, 1]])
    volume = to_volume(nibabel.Nifti1Image(ARRAY[..., None], affine))
    back = to_nibabel(volume.array, volume.geometry)
    np.testing.assert_allclose(back.affine, affine, atol=1e-6)
    np.testing.assert_array_equal(back.get_fdata(), ARRAY)


def test_arrays_are_axial():
    found = to_volume(ARRAY, spacing=(5, 1, 2))
    assert found.geometry.spacing == (2.0, 1.0, 5.0) and found.array.shape == ARRAY.shape
    assert found.array.dtype == np.float32


@pytest.mark.parametrize(
    ("image", "spacing", "line"),
    [
        (ARRAY, None, "spacing: found none; expected 3 numbers"),
        (ARRAY, (1, 1), "spacing: found 2 numbers"),
        (ARRAY, (0, 1, 1), "a voxel spacing of 1, 1, 0 mm"),
        (ARRAY[0], (1, 1, 1), r"image \(ndarray\): found 2 dimensions; expected one 3D scan"),
        (ARRAY[:1], (1, 1, 1), "found one slice"),
        (np.zeros((5, 5, 5)), (1, 1, 1), "a constant volume"),
        (np.full((5, 5, 5), np.nan), (1, 1, 1), "125 voxels that are NaN"),
        (to_sitk(ARRAY, GRID), (1, 1, 1), "spacing: found one for an image of type Image"),
        (sitk.Image([4, 4, 4], sitk.sitkVectorFloat32, 3), None, "3 dimensions, 3 components"),
        ([1, 2], None, "image: found an object of type list; expected a path"),
        ("nowhere.nii.gz", None, "nowhere.nii.gz: found"),
    ],
)
def test_what_is_no_scan_is_one_line(image, spacing, line):
    with pytest.raises(UserError, match=line):
        to_volume(image, spacing)
