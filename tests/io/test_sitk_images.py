"""Valid and invalid headers: each gives a scan or a one-line error."""

from __future__ import annotations

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from helpers.nifti_files import AXES, noise, write_nifti
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.geometry import Geometry, is_orthogonal, same_grid
from clisc_nnunet.io.volume import (
    Volume,
    read_geometry,
    read_mask,
    read_volume,
    resample,
    to_axial,
    write_volume,
)

SHEARED = AXES.copy()
SHEARED[0, 1] = 0.3


def error_line(path: Path) -> str:
    """The one-line error for an unusable scan, with its parts checked."""
    with pytest.raises(ScanError) as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)
    assert all((caught.value.where, caught.value.found, caught.value.expected, caught.value.hint))
    return str(caught.value)


@pytest.mark.parametrize("value", [0.0, -2.0, np.nan, np.inf])
@pytest.mark.parametrize("codes", [(0, 1), (1, 0), (0, 0)])
def test_spacings_that_itk_would_repair_silently(tmp_path, value, codes):
    pixdim = [1, value, 2, 3, 1, 1, 1, 1]
    path = write_nifti(tmp_path / "a.nii", noise(), fields={"pixdim": pixdim}, codes=codes)
    assert f"a voxel spacing of {value:g}, 2, 3 mm; expected spacings above 0" in error_line(path)
    with pytest.raises(ScanError, match="spacing"):
        read_geometry(path)


@pytest.mark.parametrize("value", [1e-3, 1e5])
def test_implausible_spacings(tmp_path, value):
    path = write_nifti(tmp_path / "a.nii", noise(), AXES / AXES[0, 0] * value)
    assert "expected spacings from 0.01 to 100 mm" in error_line(path)


@pytest.mark.parametrize(
    "fields",
    [
        {"srow_x": [np.nan, 0, 0, 0]},
        {"srow_z": [0, 0, 3, np.inf]},
        {"quatern_b": np.nan, "qform_code": 1},
        {"qoffset_x": np.nan, "qform_code": 1, "sform_code": 0},
    ],
)
def test_orientations_that_are_not_finite(tmp_path, fields):
    assert "not finite" in error_line(write_nifti(tmp_path / "a.nii.gz", noise(), fields=fields))


@pytest.mark.parametrize("dim", [[3, -6, 5, 4], [3, 0, 5, 4], [9, 6, 5, 4], [0, 6, 5, 4]])
def test_invalid_sizes(tmp_path, dim, capfd):
    path = write_nifti(tmp_path / "a.nii", noise(), fields={"dim": [*dim, 1, 1, 1, 1]})
    assert "a header with" in error_line(path)
    assert capfd.readouterr().err == ""  # the C library would print lines of its own


def test_a_header_with_terabytes_of_voxels_is_rejected(tmp_path):
    path = write_nifti(tmp_path / "a.nii", noise(), fields={"dim": [3, *[32767] * 3, 1, 1, 1, 1]})
    assert "bytes instead of the 14072" in error_line(path)


def test_a_skewed_header_is_orthogonalised_and_reported(tmp_path, capfd):
    path = write_nifti(tmp_path / "a.nii.gz", noise(), SHEARED)
    with pytest.raises(RuntimeError, match="orthonormal"):
        sitk.ReadImage(str(path))
    volume = read_volume(path)
    assert volume.repairs == (
        "header: axes 6.8 degrees off right angles, straightened about the centre",
    )
    assert is_orthogonal(volume.geometry)
    assert np.array_equal(volume.array, noise().T)
    assert volume.geometry == read_geometry(path)
    # The centre stays where the header has it.
    middle = (np.array(volume.geometry.size) - 1) / 2
    centre = np.diag([-1, -1, 1]) @ (SHEARED @ middle + [-9, 8, 7])
    found = volume.geometry.axes @ (middle * volume.geometry.spacing) + volume.geometry.origin
    assert found == pytest.approx(centre, abs=1e-4)
    write_volume(tmp_path / "b.nii.gz", volume.array, volume.geometry)
    again = read_volume(tmp_path / "b.nii.gz")
    assert again.repairs == () and same_grid(again.geometry, volume.geometry)
    assert "WARNING" not in capfd.readouterr().err


@pytest.mark.parametrize("ending", [".mha", ".nrrd"])
def test_a_skewed_header_of_other_formats(tmp_path, ending):
    image = sitk.GetImageFromArray(noise())
    image.SetDirection((1, 0.1, 0, 0, 1, 0, 0, 0, 1))
    sitk.WriteImage(image, str(tmp_path / f"a{ending}"))
    volume = read_volume(tmp_path / f"a{ending}")
    assert "straightened" in volume.repairs[0] and is_orthogonal(volume.geometry)


@pytest.mark.parametrize("axis", [0, 1])
def test_coincident_or_zero_axes_are_rejected(tmp_path, axis):
    axes = AXES.copy()
    axes[:, 2] = axes[:, axis] * (1 if axis else 0)
    path = write_nifti(tmp_path / "a.nii", noise(), axes, {"pixdim": [1, 2, 2, 3, 1, 1, 1, 1]})
    assert "zero or coincident axes" in error_line(path)


def test_itk_warnings_are_suppressed(tmp_path, capfd):
    write_nifti(tmp_path / "a.nii", noise(), fields={"pixdim": [1, 5, 2, 3, 1, 1, 1, 1]})
    read_volume(tmp_path / "a.nii")
    assert capfd.readouterr().err == ""
    assert sitk.ProcessObject.GetGlobalWarningDisplay()


@pytest.mark.parametrize("size", [(7, 6, 1), (1, 6, 5), (7, 1, 5)])
def test_a_single_slice_is_rejected(tmp_path, size):
    path = write_nifti(tmp_path / "a.nii", noise(size))
    assert f"one slice ({' x '.join(map(str, size))} voxels); expected a volume" in error_line(path)


def test_a_fourth_axis_of_length_one_is_accepted(tmp_path):
    path = write_nifti(tmp_path / "a.nii", noise()[..., None])
    assert read_volume(path).array.shape == (5, 6, 7)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (noise((7, 6)), "2D with 1"),
        (noise((7, 6, 5, 2)), "4D with 1"),
        (noise((7, 6, 5, 1, 3)), "5D with"),
        (noise(dtype=np.complex64), "complex numbers"),
        (noise(dtype=np.float64) * 1e300, "out of range for float32"),
        (np.zeros((7, 6, 5), np.int16), "a constant volume (0 everywhere)"),
    ],
)
def test_other_contents_are_reported(tmp_path, array, message):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert message in error_line(write_nifti(tmp_path / "a.nii.gz", array))


def test_big_endian_files_are_read(tmp_path):
    big = nib.Nifti1Image(noise().astype(">i2"), np.diag([2, 2.5, 3, 1]))
    swapped = nib.Nifti1Image(noise(), None, big.header.as_byteswapped())
    nib.save(swapped, tmp_path / "big.nii")
    volume = read_volume(tmp_path / "big.nii")
    np.testing.assert_allclose(volume.array, noise().T, atol=0.01)
    assert volume.geometry.spacing == pytest.approx((2, 2.5, 3))


FINITE = st.floats(-1e4, 1e4, width=32)
ODD_NUMBERS = st.one_of(FINITE, st.sampled_from([0.0, -1.0, np.nan, np.inf, 1e30, 1e-30]))
KINDS = [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64, np.complex64]


@st.composite
def odd_headers(draw):
    """Header fields to replace, mostly invalid."""
    fields = {}
    if draw(st.booleans()):
        spacing = draw(st.lists(ODD_NUMBERS, min_size=3, max_size=3))
        fields["pixdim"] = [draw(st.sampled_from([1.0, -1.0, 0.0])), *spacing, 1, 1, 1, 1]
    for name in ("srow_x", "srow_y", "srow_z"):
        if draw(st.booleans()):
            fields[name] = draw(st.lists(ODD_NUMBERS, min_size=4, max_size=4))
    for name in ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "scl_slope", "scl_inter"):
        if draw(st.booleans()):
            fields[name] = draw(ODD_NUMBERS)
    if draw(st.integers(0, 5)) == 0:
        fields["dim"] = draw(st.lists(st.integers(-3, 40), min_size=8, max_size=8))
    if draw(st.integers(0, 5)) == 0:
        fields["datatype"] = draw(st.sampled_from([0, 1, 2, 4, 8, 16, 32, 64, 128, 1536, 9999]))
    if draw(st.integers(0, 5)) == 0:
        fields["vox_offset"] = draw(st.integers(0, 2000))
    return fields


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    fields=odd_headers(),
    kind=st.sampled_from(KINDS),
    size=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    codes=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    cut=st.one_of(st.none(), st.integers(0, 400)),
    packed=st.booleans(),
)
def test_any_header_gives_a_scan_or_one_line(fields, kind, size, codes, cut, packed):
    with TemporaryDirectory() as folder, np.errstate(all="ignore"):
        path = Path(folder) / ("a.nii.gz" if packed else "a.nii")
        write_nifti(path, noise(tuple(size), kind), fields=fields, codes=codes)
        path.write_bytes(path.read_bytes()[:cut])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            holds_what_it_promises(path)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    ending=st.sampled_from([".nii", ".nii.gz", ".mha", ".nrrd", ".gipl", ".mgh", "2.nii"]),
    changes=st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=4),
    cut=st.one_of(st.none(), st.integers(0, 900)),
)
def test_damaged_files_give_a_scan_or_one_line(ending, changes, cut):
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"a{ending}"
        if ending in (".mgh", "2.nii"):
            kind = nib.MGHImage if ending == ".mgh" else nib.Nifti2Image
            nib.save(kind(noise(), np.diag([2, 2.5, 3, 1])), path)
        else:
            sitk.WriteImage(sitk.GetImageFromArray(noise()), str(path), useCompression=True)
        content = bytearray(path.read_bytes())
        for place, value in changes:
            content[place % len(content)] = value
        path.write_bytes(bytes(content)[:cut])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            holds_what_it_promises(path)


def holds_what_it_promises(path: Path) -> None:
    """Check that the file gives a usable volume, or an error with all its parts."""
    try:
        volume = read_volume(path)
    except ScanError as error:
        assert all((error.where, error.found, error.expected, error.hint))
        assert "\n" not in str(error)
        return
    assert volume.array.dtype == np.float32 and volume.array.ndim == 3
    assert np.isfinite(volume.array).all() and np.ptp(volume.array) > 0
    assert volume.array.shape == volume.geometry.shape
    assert min(volume.geometry.size) > 1
    assert all(0.01 <= value <= 100 for value in volume.geometry.spacing)
    assert is_orthogonal(volume.geometry)
    assert to_axial(volume).array.size == volume.array.size


@st.composite
def grids(draw, oblique: float = 40.0):
    """Grids in any orientation, mirrored ones too, of some 12 x 11 x 10 voxels."""
    order = draw(st.permutations([0, 1, 2]))
    signs = draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=3, max_size=3))
    angles = draw(
        st.lists(
            st.integers(-10 * int(oblique), 10 * int(oblique)).map(lambda a: a / 10),
            min_size=3,
            max_size=3,
        )
    )
    axes = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()[:, order] * signs
    size = tuple(draw(st.lists(st.integers(2, 12), min_size=3, max_size=3)))
    spacing = tuple(draw(st.lists(st.floats(0.4, 6), min_size=3, max_size=3)))
    origin = tuple(draw(st.lists(st.floats(-300, 300), min_size=3, max_size=3)))
    return Geometry(size, spacing, origin, tuple(axes.ravel().tolist()))


@settings(max_examples=200, deadline=None)
@given(grid=grids(), seed=st.integers(0, 99), ending=st.sampled_from([".nii.gz", ".mha", ".nrrd"]))
def test_labels_stay_on_the_same_voxels_in_any_orientation(grid, seed, ending):
    label = np.random.default_rng(seed).random(grid.shape) < 0.3
    with TemporaryDirectory() as folder:
        write_volume(Path(folder) / f"a{ending}", label, grid)
        assert same_grid(read_geometry(Path(folder) / f"a{ending}"), grid)
        assert np.array_equal(read_mask(Path(folder) / f"a{ending}", grid), label)
    axial = to_axial(Volume(label.astype(np.float32), grid))
    assert axial.array.sum() == label.sum()
    back = resample(axial.array, axial.geometry, grid) > 0.5
    assert np.array_equal(back, label)


@settings(max_examples=100, deadline=None)
@given(grid=grids(), kind=st.sampled_from([np.int16, np.uint16, np.int32, np.float64, np.uint8]))
def test_intensities_of_every_type_are_preserved(grid, kind):
    low, high = (0, 200) if kind == np.uint8 else (0 if kind == np.uint16 else -900, 32767)
    array = np.linspace(low, high, int(np.prod(grid.shape))).reshape(grid.shape).astype(kind)
    with TemporaryDirectory() as folder:
        write_volume(Path(folder) / "a.nii.gz", array, grid)
        volume = read_volume(Path(folder) / "a.nii.gz")
    np.testing.assert_allclose(volume.array, array, rtol=1e-6)
    assert same_grid(volume.geometry, grid)


def test_a_file_of_the_same_name_without_gz_is_not_read_instead(tmp_path):
    first, other = noise(), noise() + 1
    write_nifti(tmp_path / "a.nii.gz", first)
    write_nifti(tmp_path / "a.nii", other)
    for name, expected in (("a.nii.gz", first), ("a.nii", other)):
        np.testing.assert_array_equal(read_volume(tmp_path / name).array, expected.T)
