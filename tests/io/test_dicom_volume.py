"""Slices of a DICOM series as one volume: positions and scalings are those of the files."""

import struct
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import SimpleITK as sitk
from helpers.dicom_files import ARRAY, GRID, replaced, write_enhanced, write_series
from hypothesis import given, settings
from hypothesis import strategies as st

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.dicom_elements import InvalidElements
from clisc_nnunet.io.dicom_series import Series, find_series
from clisc_nnunet.io.volume import read_geometry, read_volume, same_grid, scan_digest

SCALINGS = [(1.5, 3), (0.25, -7), (2, 0), (1, 1), (0.7, 0), (1.5, 3)]


def only_series(folder):
    (series,) = find_series(folder).series
    return series


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5), (3, 0, 5, 1, 4, 2), (1, 0, 2, 3, 4, 5)])
@pytest.mark.parametrize("scalings", [None, SCALINGS, [(1, 0), *SCALINGS[1:]], [(2, 5)] * 6])
def test_frames_are_read_by_their_own_positions_and_scalings(tmp_path, order, scalings):
    write_enhanced(tmp_path / "scan", order, scalings)
    series = only_series(tmp_path)
    volume = read_volume(series)
    expected = ARRAY.astype(float)
    for place, plane in enumerate(order):
        slope, intercept = scalings[place] if scalings else (1, 0)
        expected[plane] = ARRAY[plane] * slope + intercept
    np.testing.assert_allclose(volume.array, expected, rtol=1e-6)
    assert same_grid(volume.geometry, GRID) and same_grid(read_geometry(series), GRID)
    as_itk_reads = order == (0, 1, 2, 3, 4, 5) and scalings in (None, [(2, 5)] * 6)
    assert (scan_digest(series) == series.digest) == as_itk_reads


def test_frames_from_the_last_to_the_first_stay_as_itk_reads_them(tmp_path):
    path = write_enhanced(tmp_path / "scan", range(5, -1, -1))
    volume = read_volume(only_series(tmp_path))
    image = sitk.ReadImage(str(path), imageIO="GDCMImageIO")
    assert np.array_equal(volume.array, sitk.GetArrayFromImage(image))
    assert volume.geometry.direction == image.GetDirection()
    assert scan_digest(only_series(tmp_path)) == only_series(tmp_path).digest


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
@pytest.mark.parametrize("known_lengths", [True, False])
def test_every_encoding_of_sequences(tmp_path, syntax, known_lengths):
    order = (2, 1, 0, 5, 4, 3)
    write_enhanced(tmp_path / "scan", order, syntax=syntax, sequence_length=known_lengths)
    volume = read_volume(only_series(tmp_path))
    assert np.array_equal(volume.array, ARRAY) and same_grid(volume.geometry, GRID)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"order": (0, 1, 2, 2, 3, 4)}, "two slices at the same position"),
        ({"order": (0, 1, 2, 4, 5)}, "1 missing slices among 5 slices"),
        ({"frames_claimed": 5}, "5 frames, and 6 positions"),
        ({"frames_claimed": 60}, "too small for the 6720 bytes"),
        ({"size_claimed": 65535}, "too small for the"),
        ({"axes": [0] * 6}, "orientation 0, 0, 0, 0, 0, 0"),
        ({"spacing": (0, 0)}, "pixel spacing 0, 0"),
        ({"spacing": (float("nan"), 1)}, "pixel spacing nan, 1"),
        ({"scalings": [(1, 0)] * 5 + [(0, 1)]}, "a scaling of 0 x"),
    ],
)
def test_invalid_enhanced_files_are_reported(tmp_path, changes, message):
    write_enhanced(tmp_path / "scan", **changes)
    with pytest.raises(ScanError, match=message):
        read_volume(only_series(tmp_path))


@pytest.mark.parametrize("keep", [140, 300, 700, 1200])
def test_a_cut_enhanced_file_is_reported(tmp_path, keep):
    path = write_enhanced(tmp_path / "scan")
    series = only_series(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ScanError, match=r"cannot be read|an image|frames|no "):
        read_volume(series)


@pytest.mark.parametrize(
    ("tag", "value", "message"),
    [
        (0x0028_0030, b"0\\0", "pixel spacing 0, 0; expected two spacings above 0"),
        (0x0028_0030, b"nan\\nan", "pixel spacing nan, nan"),
        (0x0028_0030, b"-2\\1.5", "pixel spacing -2, 1.5"),
        (0x0028_0030, b"", "no pixel spacing"),
        (0x0020_0037, b"0\\0\\0\\0\\0\\0", "orientation 0, 0, 0, 0, 0, 0"),
        (0x0020_0037, b"1\\0\\0\\1\\0\\0", "orientation 1, 0, 0, 1, 0, 0"),
        (0x0020_0037, b"x\\0\\0\\0\\1\\0", "orientation nan, 0"),
        (0x0020_0032, b"nan\\0\\0", "position nan, 0, 0"),
        (0x0020_0032, b"0\\0", "position 0, 0; expected three coordinates"),
    ],
)
def test_headers_that_gdcm_would_repair_silently(tmp_path, tag, value, message):
    write_series(tmp_path, "1.2.3")
    for path in tmp_path.iterdir():
        replaced(path, tag, value)
    with pytest.raises(ScanError, match=message):
        read_volume(only_series(tmp_path))


def test_a_file_that_only_gdcm_understands_is_read(tmp_path, monkeypatch):
    """Some scanners break the standard; GDCM knows them, but not the frames of enhanced files."""

    def invalid(*_):
        raise InvalidElements("an item ends after its sequence")

    write_series(tmp_path / "classic", "1.2.3")
    write_enhanced(tmp_path / "enhanced" / "scan")
    monkeypatch.setattr("clisc_nnunet.io.dicom_header.read_elements", invalid)
    volume = read_volume(only_series(tmp_path / "classic"))
    assert np.array_equal(volume.array, ARRAY) and same_grid(volume.geometry, GRID)
    with pytest.raises(ScanError, match="6 frames, and no positions"):
        read_volume(only_series(tmp_path / "enhanced"))
    for path in (tmp_path / "classic").iterdir():
        replaced(path, 0x0028_0030, b"0\\0")
    with pytest.raises(ScanError, match="pixel spacing 0, 0"):
        read_volume(only_series(tmp_path / "classic"))


def test_small_files_that_claim_gigabytes_are_refused(tmp_path):
    write_series(tmp_path, "1.2.3")
    for path in tmp_path.iterdir():
        for tag in (0x0028_0010, 0x0028_0011):
            replaced(path, tag, struct.pack("<H", 65535))
    with pytest.raises(ScanError, match="too small for the 8589672450 bytes it claims"):
        read_volume(only_series(tmp_path))


def test_a_compressed_series_that_claims_too_much_is_refused(tmp_path):
    """The size of compressed pixels says little about their number."""
    jpeg = "1.2.840.10008.1.2.4.70"
    path = write_enhanced(tmp_path / "scan", size_claimed=16384, syntax=jpeg)
    with pytest.raises(ScanError, match="claims 16384 x 16384 x 6 voxels; expected 536870912"):
        read_volume(Series(tmp_path, (path,), "1.2.3"))


@pytest.mark.parametrize(
    ("planes", "message"),
    [
        ((0, 1, 2, 4, 5), "1 missing slices among 5 slices"),
        ((0, 1, 4, 5, 6), "2 missing slices among 5 slices"),
        ((0, 1, 2, 2, 3, 4), "two slices at the same position"),
        ((0, 2, 3, 5), "irregular distances among 4 slices"),
        ((3,), "one slice"),
    ],
)
def test_invalid_series_are_reported(tmp_path, planes, message, monkeypatch):
    monkeypatch.setattr("helpers.dicom_files.ARRAY", np.concatenate([ARRAY, ARRAY]))
    write_series(tmp_path, "1.2.3", planes=planes)
    with pytest.raises(ScanError, match=message):
        read_volume(only_series(tmp_path))


@pytest.mark.parametrize("steps", [[0.4] * 6 + [1] * 5, [1, 0.5] * 5, [1, 1, 1.4, 1, 1]])
def test_uneven_slices_are_irregular_and_not_missing(tmp_path, steps, monkeypatch):
    planes = np.cumsum([0, *steps])
    monkeypatch.setattr("helpers.dicom_files.ARRAY", {place: ARRAY[0] for place in planes.tolist()})
    write_series(tmp_path, "1.2.3", planes=planes.tolist())
    with pytest.raises(ScanError, match=f"irregular distances among {len(planes)} slices"):
        read_volume(only_series(tmp_path))


@settings(max_examples=100, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(132, 3000), st.integers(0, 255)), max_size=4),
    cut=st.one_of(st.none(), st.integers(0, 4000)),
)
def test_damaged_enhanced_files_give_a_scan_or_one_line(changes, cut):
    with TemporaryDirectory() as folder:
        path = write_enhanced(Path(folder) / "scan", (3, 0, 5, 1, 4, 2))
        content = bytearray(path.read_bytes())
        for place, value in changes:
            content[place % len(content)] = value
        path.write_bytes(bytes(content)[:cut])
        try:
            volume = read_volume(Series(Path(folder), (path,), "1.2.3"))
        except ScanError as error:
            assert "\n" not in str(error)
            return
        assert volume.array.shape == volume.geometry.shape
        assert np.isfinite(volume.array).all()
