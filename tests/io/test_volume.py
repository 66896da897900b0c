import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from helpers.acquisitions import tilted, turned

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.volume import (
    Geometry,
    Volume,
    read_geometry,
    read_mask,
    read_volume,
    recording,
    resample,
    same_grid,
    scan_digest,
    to_axial,
    write_volume,
)

UNIT = Geometry((6, 5, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), tuple(np.eye(3).flat))


def test_a_written_volume_is_read_back(tmp_path):
    geometry = Geometry(
        (6, 5, 4), (1.0, 2.0, 3.0), (7.0, -8.0, 9.0), (0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    )
    array = np.arange(120, dtype=np.float32).reshape(4, 5, 6)
    write_volume(tmp_path / "deep" / "scan.nii.gz", array, geometry)
    volume = read_volume(tmp_path / "deep" / "scan.nii.gz")
    assert np.array_equal(volume.array, array)
    assert same_grid(volume.geometry, geometry)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["scan.nii.gz"]


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "scan.mha"
    write_volume(path, np.arange(120.0).reshape(4, 5, 6), UNIT)
    before = path.read_bytes()

    def full(_image, name, **_):
        Path(name).write_bytes(b"half")
        raise RuntimeError("disk full")

    monkeypatch.setattr(sitk, "WriteImage", full)
    with pytest.raises(RuntimeError, match="disk full"):
        write_volume(path, np.ones((4, 5, 6)), UNIT)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["scan.mha"]


def test_bool_is_written_as_integers(tmp_path):
    mask = np.arange(120).reshape(4, 5, 6) % 3 == 0
    write_volume(tmp_path / "mask.nii.gz", mask, UNIT)
    assert sitk.ReadImage(str(tmp_path / "mask.nii.gz")).GetPixelID() == sitk.sitkUInt8
    assert np.array_equal(read_mask(tmp_path / "mask.nii.gz", UNIT), mask)


def test_geometry_is_read_from_the_header(tmp_path):
    geometry = Geometry((6, 5, 4), (1.0, 2.0, 3.0), (7.0, -8.0, 9.0), UNIT.direction)
    write_volume(tmp_path / "scan.nii.gz", np.ones(geometry.shape), geometry)
    assert same_grid(read_geometry(tmp_path / "scan.nii.gz"), geometry)
    assert geometry.voxel_ml == pytest.approx(0.006)
    with pytest.raises(ScanError, match="no such file"):
        read_geometry(tmp_path / "none.nii.gz")


def test_shape_and_geometry_must_agree(tmp_path):
    with pytest.raises(ValueError, match="geometry of shape"):
        write_volume(tmp_path / "scan.nii.gz", np.zeros((4, 5, 7)), UNIT)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((4, 5, 6), 3.0), r"a constant volume \(3 everywhere\)"),
        (np.where(np.arange(120).reshape(4, 5, 6) == 7, np.inf, 1.0), "1 voxels that are NaN"),
    ],
)
def test_invalid_intensities_are_reported(tmp_path, array, message):
    path = tmp_path / "scan.mha"
    write_volume(path, array.astype(np.float32), UNIT)
    with pytest.raises(ScanError, match=message):
        read_volume(path)


def test_four_dimensions_are_reported(tmp_path):
    image = sitk.JoinSeries([sitk.Image(4, 4, 4, sitk.sitkFloat32)] * 2)
    sitk.WriteImage(image, str(tmp_path / "bold.nii.gz"))
    with pytest.raises(ScanError, match="4D"):
        read_volume(tmp_path / "bold.nii.gz")


@pytest.mark.parametrize("keep", [0, 5, 60, 300])
def test_truncated_files_are_reported(tmp_path, keep):
    path = tmp_path / "scan.nii.gz"
    write_volume(path, np.random.default_rng(0).random((4, 5, 6)).astype(np.float32), UNIT)
    whole = path.read_bytes()
    assert len(whole) > 400
    path.write_bytes(whole[:keep])
    with pytest.raises(ScanError, match="cannot be read"):
        read_volume(path)


@pytest.mark.parametrize("ending", [".nii", ".mha", ".nrrd"])
@pytest.mark.parametrize("lost", [40, 400])
def test_truncated_files_of_other_formats_are_reported(tmp_path, ending, lost):
    path = tmp_path / f"scan{ending}"
    write_volume(path, np.random.default_rng(0).random((4, 5, 6)).astype(np.float32), UNIT)
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(ScanError, match="cannot be read"):
        read_volume(path)


def test_a_truncated_file_is_reported_even_if_compressed(tmp_path):
    write_volume(tmp_path / "scan.nii", np.arange(120.0).reshape(4, 5, 6), UNIT)
    content = (tmp_path / "scan.nii").read_bytes()
    (tmp_path / "scan.nii.gz").write_bytes(gzip.compress(content[:-8]))
    with pytest.raises(ScanError, match="1304 bytes instead of the 1312"):
        read_volume(tmp_path / "scan.nii.gz")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_complete_files_of_every_type_are_read(tmp_path, dtype):
    array = np.arange(120, dtype=dtype).reshape(4, 5, 6)
    write_volume(tmp_path / "scan.nii", array, UNIT)
    assert np.array_equal(read_volume(tmp_path / "scan.nii").array, array)


def test_a_wrong_check_sum_is_reported(tmp_path):
    path = tmp_path / "scan.nii.gz"
    write_volume(path, np.random.default_rng(0).random((4, 5, 6)).astype(np.float32), UNIT)
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ScanError, match="CRC"):
        read_volume(path)


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(ScanError, match="no such file"):
        read_volume(tmp_path / "nobody.nii.gz")
    with pytest.raises(ScanError, match="a readable scan"):
        scan_digest(tmp_path / "nobody.nii.gz")


@pytest.mark.parametrize("ending", [".mhd", ".nhdr"])
def test_voxels_next_to_a_header_are_part_of_its_digest(tmp_path, ending):
    digests = []
    for number in (0, 1, 0):
        scan = sitk.GetImageFromArray(np.arange(120, dtype=np.int16).reshape(4, 5, 6) + number)
        sitk.WriteImage(scan, str(tmp_path / f"scan{ending}"))
        digests.append(scan_digest(tmp_path / f"scan{ending}"))
    assert digests[0] == digests[2] != digests[1]
    (tmp_path / "scan.raw").unlink()
    with pytest.raises(ScanError, match="cannot be read"):
        scan_digest(tmp_path / f"scan{ending}")


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nii", "scan.mha", "scan.nrrd"])
def test_the_digest_of_a_file_with_its_voxels_is_its_hash(tmp_path, name):
    write_volume(tmp_path / name, np.arange(120.0).reshape(4, 5, 6), UNIT)
    expected = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    assert scan_digest(tmp_path / name) == expected


def test_text_in_gzip_is_not_a_volume(tmp_path):
    (tmp_path / "scan.nii.gz").write_bytes(gzip.compress(b"not a brain"))
    with pytest.raises(ScanError, match="cannot be read"):
        read_volume(tmp_path / "scan.nii.gz")


def test_recording_lists_the_files_read(tmp_path):
    write_volume(tmp_path / "a.mha", np.arange(120.0).reshape(4, 5, 6), UNIT)
    with recording() as read:
        read_volume(tmp_path / "a.mha")
        read_mask(tmp_path / "a.mha", UNIT)
    read_volume(tmp_path / "a.mha")
    assert read == [str(tmp_path / "a.mha")] * 2


def test_a_mask_of_another_grid_is_rejected(tmp_path):
    write_volume(tmp_path / "mask.mha", np.ones((4, 5, 6), bool), UNIT)
    with pytest.raises(ScanError, match=r"2 x 1 x 1 mm.*; resample it to its scan"):
        read_mask(
            tmp_path / "mask.mha",
            Geometry((6, 5, 4), (2.0, 1.0, 1.0), *(UNIT.origin,), UNIT.direction),
        )


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "PIR", "ASL", "SAR"])
def test_every_orientation_ends_in_the_same_axial_array(head, orientation):
    volume, _ = head
    axial = to_axial(turned(volume, orientation))
    assert np.array_equal(axial.array, volume.array)
    assert same_grid(axial.geometry, volume.geometry)


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "PIR"])
@pytest.mark.parametrize("degrees", [-20, 30])
def test_oblique_scans_are_assigned_their_nearest_axes(head, orientation, degrees):
    """The voxels are those of the axial scan, and every one stays where it lies in the patient."""
    volume, _ = head
    oblique = Geometry(
        volume.geometry.size, volume.geometry.spacing, volume.geometry.origin, tilted(degrees)
    )
    axial = to_axial(turned(Volume(volume.array, oblique), orientation))
    assert np.array_equal(axial.array, volume.array)
    assert same_grid(axial.geometry, oblique)


@pytest.mark.parametrize(
    ("size", "spacing"),
    [
        pytest.param((50, 60, 45), (2.8, 2.6, 2.7), id="coarse"),
        pytest.param((160, 180, 24), (0.9, 0.9, 5.0), id="anisotropic"),
        pytest.param((70, 80, 120), (2.0, 2.0, 1.0), id="thin"),
    ],
)
@pytest.mark.parametrize("degrees", [0, 15])
def test_resampling_there_and_back_keeps_a_blob(head, size, spacing, degrees):
    volume, blob = head
    direction = tilted(degrees)
    origin = -np.reshape(direction, (3, 3)) @ (np.array(size) * spacing / 2)
    other = Geometry(size, spacing, tuple(origin), direction)
    there = resample(blob.astype(np.float32), volume.geometry, other)
    back = resample(there, other, volume.geometry) > 0.5
    assert 2 * (back & blob).sum() / (back.sum() + blob.sum()) > 0.9


def test_resampling_keeps_a_plane_of_intensities():
    """What is linear in the patient's coordinates stays so, wherever the other grid lies."""
    source = Geometry((20, 20, 20), (2.0, 2.0, 2.0), (-20.0, -20.0, -20.0), UNIT.direction)
    ramp = (np.indices(source.shape) * 2.0 - 20.0)[::-1]  # x, y, z in mm
    target = Geometry((9, 9, 9), (1.5, 1.1, 1.9), (-5.0, -4.0, -6.0), tilted(10))
    inside = np.indices(target.shape)[::-1].reshape(3, -1) * np.reshape(target.spacing, (3, 1))
    places = np.reshape(target.origin, (3, 1)) + np.reshape(target.direction, (3, 3)) @ inside
    for axis in range(3):
        moved = resample(ramp[axis], source, target)
        np.testing.assert_allclose(moved.ravel(), places[axis], atol=1e-3)


def test_value_outside_the_source():
    shifted = Geometry((6, 5, 4), (1.0, 1.0, 1.0), (100.0, 0.0, 0.0), UNIT.direction)
    moved = resample(np.ones((4, 5, 6)), UNIT, shifted, outside=-10.0)
    assert np.all(moved == -10.0)
