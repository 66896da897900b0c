"""Formats that only nibabel reads, and files whose names do not say what they are."""

import gzip

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from helpers.nifti_files import affine, on_background

from clisc_nnunet.dataset_conversion.nnunet_dataset import place_case
from clisc_nnunet.errors import ScanError
from clisc_nnunet.inputs.find_cases import find_cases
from clisc_nnunet.io.volume import read_geometry, read_volume, same_grid
from clisc_nnunet.io.volume import scan_digest as digest

AFFINE = affine((2, 2.5, 3))
ARRAY = on_background()


def nifti_2(path):
    nib.save(nib.Nifti2Image(ARRAY, AFFINE), path)


def mgh(path):
    nib.save(nib.MGHImage(ARRAY, AFFINE), path)


def plain(path):
    path.write_bytes(nib.Nifti1Image(ARRAY, AFFINE).to_bytes())


def packed(path):
    path.write_bytes(gzip.compress(nib.Nifti1Image(ARRAY, AFFINE).to_bytes()))


KINDS = [
    pytest.param(nifti_2, "two.nii.gz", "NIfTI-2", id="NIfTI-2"),
    pytest.param(nifti_2, "two.nii", "NIfTI-2", id="NIfTI-2, not compressed"),
    pytest.param(mgh, "orig.mgz", "", id="mgz"),
    pytest.param(mgh, "orig.mgh", "", id="mgh"),
    pytest.param(plain, "a.nii.gz", "a .nii.gz without compression", id="not compressed"),
    pytest.param(packed, "a.nii", "a compressed file named .nii", id="compressed"),
]


@pytest.mark.parametrize(("write", "name", "what"), KINDS)
def test_they_are_read_and_written_again_for_nnunet(tmp_path, write, name, what):
    path = tmp_path / name
    write(path)
    usual = tmp_path / "usual.nii.gz"
    nib.save(nib.Nifti1Image(ARRAY, AFFINE), usual)
    volume = read_volume(path)
    assert np.array_equal(volume.array, ARRAY.T)
    assert same_grid(volume.geometry, read_volume(usual).geometry)
    assert read_geometry(path) == volume.geometry
    repairs = [f"{what}, read by nibabel"] if what else []
    assert list(volume.repairs) == repairs
    placed_with = place_case([path], path, "a", tmp_path / "Dataset501_CLISC")
    assert placed_with == [f"{path}: {repair}" for repair in repairs]
    placed = tmp_path / "Dataset501_CLISC" / "imagesTr" / "a_0000.nii.gz"
    assert not placed.is_symlink()
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(placed))), ARRAY.T)
    assert isinstance(nib.load(placed), nib.Nifti1Image)
    assert digest(path) != digest(usual)


@pytest.mark.parametrize(("write", "name", "what"), KINDS)
def test_cut_files_are_reported(tmp_path, write, name, what):
    path = tmp_path / name
    write(path)
    content = path.read_bytes()
    for keep in (0, 3, 100, len(content) // 2):
        path.write_bytes(content[:keep])
        with pytest.raises(ScanError, match="cannot be read"):
            read_volume(path)


@pytest.mark.parametrize("write", [nifti_2, mgh])
def test_their_sizes_are_checked_before_they_are_read(tmp_path, write):
    path = tmp_path / ("a.mgh" if write is mgh else "a.nii")
    write(path)
    content = bytearray(path.read_bytes())
    if write is mgh:
        content[4:16] = np.array([2000] * 3, ">i4").tobytes()
    else:
        content[24:48] = np.array([2000] * 3, "<i8").tobytes()
    path.write_bytes(bytes(content))
    with pytest.raises(ScanError, match=r"32000000\d* "):
        read_geometry(path)


@pytest.mark.parametrize(("write", "name"), [(nifti_2, "a.nii.gz"), (mgh, "a.mgz")])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_their_voxels_must_be_finite(tmp_path, write, name, value, monkeypatch):
    array = ARRAY.copy()
    array[3, 3, 3] = value
    monkeypatch.setitem(globals(), "ARRAY", array)
    write(tmp_path / name)
    with pytest.raises(ScanError, match="1 voxels that are NaN"):
        read_volume(tmp_path / name)


def test_several_volumes_are_reported(tmp_path):
    nib.save(nib.MGHImage(np.stack([ARRAY] * 2, -1), AFFINE), tmp_path / "a.mgz")
    nib.save(nib.Nifti2Image(np.stack([ARRAY] * 2, -1), AFFINE), tmp_path / "a.nii")
    for name in ("a.mgz", "a.nii"):
        for read in (read_volume, read_geometry):
            with pytest.raises(ScanError, match="4D with 1"):
                read(tmp_path / name)


def test_scaled_nifti_2_has_intensities(tmp_path):
    image = nib.Nifti2Image(np.arange(210, dtype=np.int16).reshape(7, 6, 5), AFFINE)
    image.header.set_slope_inter(0.5, 3)
    nib.save(image, tmp_path / "a.nii")
    assert np.array_equal(
        read_volume(tmp_path / "a.nii").array, nib.load(tmp_path / "a.nii").get_fdata().T
    )


def test_freesurfer_scans_are_found(tmp_path):
    mgh(tmp_path / "anna_flair.mgz")
    mgh(tmp_path / "anna_aseg_seg.mgz")
    found = find_cases(tmp_path)
    assert [(case.name, case.image.name) for case in found.cases] == [("anna", "anna_flair.mgz")]
