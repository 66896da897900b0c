"""Headers whose qform, sform and pixdim disagree: one rule, and no reader sees anything else."""

from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from helpers.nifti_files import affine, noise, on_background, write_forms, write_nifti
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from clisc_nnunet.dataset_conversion.nnunet_dataset import place_case
from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.geometry import Geometry, farthest_mm, geometry_of_image, geometry_of_steps
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.io.volume import read_geometry, read_volume, scan_digest

SPACING = (0.9, 1.1, 5.0)
TO_LPS = np.diag([-1.0, -1.0, 1.0])


def rotated(*degrees):
    return Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()


def geometry(matrix, size=(7, 6, 5)):
    return geometry_of_steps(size, TO_LPS @ matrix[:3, :3], TO_LPS @ matrix[:3, 3])


def sheared(matrix, degrees):
    shear = np.eye(4)
    shear[0, 1] = np.tan(np.radians(degrees))
    return shear @ matrix


def placed_as(path: Path, folder: Path) -> list[Geometry]:
    """Geometries of the file in imagesTr: as ITK sees it, then nibabel by qform and sform."""
    place_case([path], path, "a", folder / "Dataset501_CLISC")
    target = folder / "Dataset501_CLISC" / "imagesTr" / "a_0000.nii.gz"
    image = nib.load(target)
    assert np.array_equal(np.asarray(image.dataobj), on_background(image.shape))
    return [
        geometry_of_image(sitk.ReadImage(str(target))),
        *(geometry(form, image.shape) for form in (image.get_qform(), image.get_sform())),
    ]


def check(path, expected, *, said, itk_differs, tmp_path):
    """The rule gives `expected`; the file in imagesTr has it in every form; and it is reported."""
    volume = read_volume(path)
    assert farthest_mm(volume.geometry, expected) < 1e-3
    assert read_geometry(path) == volume.geometry
    assert all(farthest_mm(one, expected) < 1e-3 for one in placed_as(path, tmp_path))
    (repair,) = volume.repairs
    assert said in repair
    assert (scan_digest(path) != file_sha256(path)) == itk_differs


@pytest.mark.parametrize("degrees", [25, 40])
@pytest.mark.parametrize("sform_code", [1, 2])
def test_a_valid_qform_wins_over_a_sheared_sform(tmp_path, degrees, sform_code):
    scan = affine(SPACING)
    path = write_forms(tmp_path / "a.nii.gz", scan, sheared(scan, degrees), codes=(1, sform_code))
    check(
        path,
        geometry(scan),
        said="the qform was used, whose axes are at right angles",
        itk_differs=False,
        tmp_path=tmp_path,
    )


@pytest.mark.parametrize("codes", [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1)])
def test_an_sform_with_a_spacing_wins_over_a_pixdim_of_one(tmp_path, codes):
    unset, scan = affine((1, 1, 1), (0, 0, 0)), affine((3.4, 3.4, 6))
    path = write_forms(tmp_path / "a.nii.gz", unset, scan, codes=codes)
    check(path, geometry(scan), said="3.4 x 3.4 x 6 mm", itk_differs=True, tmp_path=tmp_path)


@pytest.mark.parametrize("atlas", [2, 3, 4])
def test_the_scanners_qform_wins_over_the_sform_of_an_atlas(tmp_path, atlas):
    scan = affine(SPACING)
    other = affine(SPACING, (20, -3, 30), rotated(5, -12, 8))
    path = write_forms(tmp_path / "a.nii.gz", scan, other, codes=(1, atlas))
    assert farthest_mm(geometry(other), geometry(scan)) > 30
    said = "the qform was used, since the sform is not in scanner coordinates"
    check(path, geometry(scan), said=said, itk_differs=False, tmp_path=tmp_path)


def test_an_sform_in_scanner_coordinates_wins_over_another_qform(tmp_path):
    scan = affine(SPACING)
    path = write_forms(
        tmp_path / "a.nii.gz", affine(SPACING, (9, 9, 9), rotated(9, 0, 0)), scan, codes=(2, 1)
    )
    said = "the sform was used, in scanner coordinates"
    check(path, geometry(scan), said=said, itk_differs=False, tmp_path=tmp_path)


def test_the_spacing_of_a_lone_sform_is_its_own(tmp_path):
    scan = affine((2, 2.5, 4))
    path = write_forms(tmp_path / "a.nii.gz", affine(SPACING), scan, codes=(0, 1), pixdim=SPACING)
    said = "0.9 x 1.1 x 5 mm in pixdim, and of 2 x 2.5 x 4 mm in the sform; that of the sform"
    check(path, geometry(scan), said=said, itk_differs=True, tmp_path=tmp_path)


@pytest.mark.parametrize("code", [1, 2])
def test_a_qform_wins_over_an_sform_that_was_never_set(tmp_path, code):
    scan = affine(SPACING, rotation=rotated(4, 0, 9))
    path = write_forms(tmp_path / "a.nii.gz", scan, np.eye(4), codes=(1, code))
    said = "the qform was used, with its spacing of 0.9 x 1.1 x 5 mm"
    check(path, geometry(scan), said=said, itk_differs=code == 1, tmp_path=tmp_path)


def test_a_lone_sform_that_was_never_set_has_the_spacing_of_pixdim(tmp_path):
    path = write_forms(
        tmp_path / "a.nii.gz", affine(SPACING), affine((1, 1, 1)), codes=(0, 1), pixdim=SPACING
    )
    said = "that of pixdim was used"
    check(path, geometry(affine(SPACING)), said=said, itk_differs=False, tmp_path=tmp_path)


@pytest.mark.parametrize("codes", [(1, 1), (1, 2), (2, 1), (1, 4)])
@pytest.mark.parametrize("degrees", [(0, 0, 0), (3, 179.9, -2)])
def test_forms_that_differ_by_rounding_are_silent(tmp_path, codes, degrees):
    scan = affine(SPACING, rotation=rotated(*degrees))
    path = write_forms(tmp_path / "a.nii.gz", scan, np.round(scan, 3), codes=codes)
    volume = read_volume(path)
    assert volume.repairs == ()
    assert volume.geometry == geometry_of_image(sitk.ReadImage(str(path)))
    assert scan_digest(path) == file_sha256(path)
    placed_as(path, tmp_path)
    assert (tmp_path / "Dataset501_CLISC" / "imagesTr" / "a_0000.nii.gz").is_symlink()


def test_units_of_metres_are_converted_as_itk_does(tmp_path):
    fields = {"xyzt_units": 1, "pixdim": [1, 2e-3, 2.5e-3, 3e-3, 1, 1, 1, 1]}
    path = write_nifti(tmp_path / "a.nii", noise(), np.diag([2e-3, 2.5e-3, 3e-3]), fields)
    volume = read_volume(path)
    assert volume.geometry.spacing == pytest.approx((2, 2.5, 3))
    assert volume.geometry == geometry_of_image(sitk.ReadImage(str(path)))
    assert volume.repairs == ()


@st.composite
def affines(draw):
    """Affines in any orientation; some sheared, some with a spacing of 1 mm."""
    angles = draw(st.lists(st.floats(-180, 180), min_size=3, max_size=3))
    spacing = draw(
        st.one_of(st.just([1.0] * 3), st.lists(st.floats(0.4, 6), min_size=3, max_size=3))
    )
    origin = draw(st.lists(st.floats(-200, 200), min_size=3, max_size=3))
    matrix = affine(spacing, origin, rotated(*angles))
    return sheared(matrix, draw(st.sampled_from([0, 0, 0, 1, 10, 25, 45])))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    forms=st.tuples(affines(), affines()),
    pixdim=st.one_of(st.none(), st.lists(st.floats(0.4, 6), min_size=3, max_size=3)),
    codes=st.tuples(st.integers(0, 4), st.integers(0, 4)),
)
def test_nnunet_sees_what_was_used_whichever_geometry_is_wrong(forms, pixdim, codes):
    """Up to two of the three are wrong; imagesTr has the one that was used, and nothing else."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        path = write_forms(folder / "a.nii.gz", *forms, codes=codes, pixdim=pixdim)
        try:
            volume = read_volume(path)
        except ScanError as error:  # more skewed than can be straightened
            assert "right angles" in str(error) or "mm" in str(error)
            return
        seen = placed_as(path, folder)
        tolerance = 0.5 * min(volume.geometry.spacing) + 1e-3
        for found in seen[: 3 if volume.repairs else 1]:
            assert farthest_mm(found, volume.geometry) < (1e-3 if volume.repairs else tolerance)
        if codes[0] and codes[1]:  # whichever a program believes, it is the same place
            assert all(farthest_mm(found, volume.geometry) < tolerance for found in seen)
        image = nib.load(path)
        stated = [geometry(form) for form in (image.get_qform(), image.get_sform())]
        if not volume.repairs and codes != (0, 0):
            used = [one for one, code in zip(stated, codes, strict=True) if code]
            assert all(farthest_mm(one, volume.geometry) < tolerance for one in used)
