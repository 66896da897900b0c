"""Small files that claim much, and voxels that ITK would replace in silence."""

import gzip

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from helpers.nifti_files import AXES, noise, write_nifti

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.nifti_header import check_nifti
from clisc_nnunet.io.volume import read_geometry, read_mask, read_volume


def big(*sizes):
    return {"dim": [3, *sizes, 1, 1, 1, 1]}


@pytest.mark.parametrize("bits", [0, 8, 16, 32])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_sizes_come_from_the_data_type(tmp_path, bits, ending):
    path = write_nifti(tmp_path / f"a{ending}", noise(), fields={"bitpix": bits})
    assert np.array_equal(read_volume(path).array, noise().T)
    content = gzip.decompress(path.read_bytes()) if ending == ".nii.gz" else path.read_bytes()
    half = content[: 352 + noise().nbytes // 2]
    path.write_bytes(gzip.compress(half) if ending == ".nii.gz" else half)
    with pytest.raises(ScanError, match="772 bytes instead of the 1192"):
        read_volume(path)


@pytest.mark.parametrize("read", [read_volume, read_geometry])
@pytest.mark.parametrize(
    ("ending", "message"),
    [
        (".nii", "bytes instead of the 2744000352"),
        (".nii.gz", "too small for the 2744000352 bytes"),
    ],
)
def test_a_small_file_with_gigabytes_of_voxels_is_rejected(tmp_path, read, ending, message):
    fields = {"bitpix": 0, **big(1000, 1000, 686)}
    path = write_nifti(tmp_path / f"a{ending}", noise(), fields=fields)
    with pytest.raises(ScanError, match=message):
        read(path)


def test_more_voxels_than_the_limit_are_rejected_before_they_are_read(tmp_path):
    path = write_nifti(tmp_path / "a.nii", noise(), fields={**big(2000, 2000, 500), "datatype": 2})
    with path.open("r+b") as file:
        file.truncate(352 + 2_000_000_000)  # sparse
    with pytest.raises(ScanError, match="claims 2000 x 2000 x 500 voxels; expected 536870912"):
        read_volume(path)


@pytest.mark.parametrize("spacing", [20, 50])
def test_volumes_longer_than_a_metre_are_rejected(tmp_path, spacing):
    path = write_nifti(tmp_path / "a.nii", noise((64, 64, 8)), np.eye(3) * spacing)
    with pytest.raises(ScanError, match=f"{64 * spacing} x {64 * spacing} x {8 * spacing} mm"):
        read_geometry(path)


@pytest.mark.parametrize("offset", [np.nan, np.inf, -8, 1e9, 2000])
def test_voxels_outside_of_the_file_are_reported(tmp_path, offset):
    path = write_nifti(tmp_path / "a.nii", noise(), fields={"vox_offset": offset})
    with pytest.raises(ScanError, match=r"voxels that begin at byte|bytes instead of"):
        read_volume(path)


@pytest.mark.parametrize("magic", [b"ni1", b""])
def test_headers_without_voxels_are_rejected(tmp_path, magic):
    path = write_nifti(tmp_path / "a.nii", noise(), fields={"magic": magic})
    (tmp_path / "a.img").write_bytes(bytes(noise().nbytes))  # which ITK would read instead
    with pytest.raises(ScanError, match="with its voxels in the same file"):
        read_volume(path)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_voxels_that_are_not_finite_are_rejected(tmp_path, dtype, order, ending):
    array = noise().astype(np.dtype(dtype).newbyteorder(order))
    array[1, 2, 3], array[2, 2, 2], array[6, 5, 4] = np.nan, np.inf, -np.inf
    header = nib.Nifti1Header(endianness=order)
    nib.save(nib.Nifti1Image(array, np.diag([2, 2.5, 3, 1]), header), tmp_path / f"a{ending}")
    path = tmp_path / f"a{ending}"
    assert np.isfinite(sitk.GetArrayFromImage(sitk.ReadImage(str(path)))).all()  # ITK's zeros
    with pytest.raises(ScanError, match="3 voxels that are NaN, infinite"):
        read_volume(path)
    mask = read_mask(path, read_geometry(path))
    expected = np.nan_to_num(array.T.astype(float), nan=0, posinf=0, neginf=0) > 0
    assert np.array_equal(mask, expected)


def test_voxels_that_are_not_finite_are_found_in_every_block(tmp_path, monkeypatch):
    monkeypatch.setattr("clisc_nnunet.io.nifti_header._BLOCK", 64)
    array = noise()
    array[:, 5, 4] = np.nan
    path = write_nifti(tmp_path / "a.nii.gz", array, AXES)
    found = check_nifti(path).not_finite
    assert np.array_equal(found, np.flatnonzero(np.isnan(array.T)))
