"""Voxels in other files than their header: hashed, and only regular files beside it are read."""

import os

import numpy as np
import pytest
import SimpleITK as sitk

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.detached_data import data_files
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.io.volume import read_volume, scan_digest

ARRAY = np.arange(120, dtype=np.int16).reshape(4, 5, 6)


def meta(data, extra=""):
    return (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        f"{extra}DimSize = 6 5 4\nElementSpacing = 1 2 3\nElementType = MET_SHORT\n"
        f"ElementDataFile = {data}\n"
    )


def nrrd(data, encoding="raw"):
    return (
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 6 5 4\nspacings: 1 2 3\n"
        f"endian: little\nencoding: {encoding}\ndata file: {data}\n"
    )


HEADERS = [(".mha", meta), (".mhd", meta), (".nrrd", nrrd), (".nhdr", nrrd)]


def write(folder, ending, header, data="scan.raw", array=ARRAY):
    (folder / "scan.raw").write_bytes(array.tobytes())
    path = folder / f"scan{ending}"
    path.write_text(header(data))
    return path


@pytest.mark.parametrize(("ending", "header"), HEADERS)
def test_exchanged_voxels_change_the_digest(tmp_path, ending, header):
    path = write(tmp_path, ending, header)
    assert np.array_equal(read_volume(path).array, ARRAY)
    assert data_files(path) == (tmp_path / "scan.raw",)
    first = scan_digest(path)
    write(tmp_path, ending, header, array=ARRAY[::-1])
    assert scan_digest(path) != first
    write(tmp_path, ending, header)
    assert scan_digest(path) == first


@pytest.mark.parametrize("ending", [".mha", ".nrrd"])
def test_voxels_within_the_file_are_hashed_with_it(tmp_path, ending):
    path = tmp_path / f"scan{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(path))
    assert data_files(path) == ()
    assert scan_digest(path) == file_sha256(path)


@pytest.mark.parametrize(("ending", "header"), HEADERS)
@pytest.mark.parametrize("name", ["/etc/passwd", "../secret.raw", "deep/../../x", r"C:\x\y.raw"])
def test_files_elsewhere_are_refused(tmp_path, ending, header, name):
    path = write(tmp_path, ending, header, name)
    for read in (read_volume, scan_digest):
        with pytest.raises(
            ScanError, match=r"outside of its folder; expected a file in the folder"
        ):
            read(path)


@pytest.mark.parametrize(("ending", "header"), HEADERS)
@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_refused(tmp_path, ending, header, kind):
    path = write(tmp_path, ending, header, "data")
    os.mkfifo(tmp_path / "data") if kind == "pipe" else (tmp_path / "data").mkdir()
    for read in (read_volume, scan_digest):
        with pytest.raises(ScanError, match="'data', which is not a regular file"):
            read(path)


@pytest.mark.parametrize(
    ("ending", "header"),
    [(".mhd", meta("plane%d.raw 1 4 1")), (".nhdr", nrrd("plane%d.raw 1 4 1"))],
)
def test_a_file_per_plane(tmp_path, ending, header):
    for number, plane in enumerate(ARRAY, 1):
        (tmp_path / f"plane{number}.raw").write_bytes(plane.tobytes())
    path = tmp_path / f"scan{ending}"
    path.write_text(header)
    assert np.array_equal(read_volume(path).array, ARRAY)
    (tmp_path / "plane3.raw").unlink()
    os.mkfifo(tmp_path / "plane3.raw")
    with pytest.raises(ScanError, match="not a regular file"):
        read_volume(path)


@pytest.mark.parametrize(("ending", "header"), [(".mhd", meta), (".nhdr", nrrd)])
def test_a_list_of_files(tmp_path, ending, header):
    names = [f"{name}.raw" for name in "wxyz"]
    for name, plane in zip(names, ARRAY, strict=True):
        (tmp_path / name).write_bytes(plane.tobytes())
    path = tmp_path / f"scan{ending}"
    path.write_text(header("LIST") + "\n".join(names) + "\n")
    assert data_files(path) == tuple(tmp_path / name for name in names)
    assert np.array_equal(read_volume(path).array, ARRAY)
    path.write_text(header("LIST") + "\n".join([*names[:3], "/etc/passwd"]) + "\n")
    with pytest.raises(ScanError, match="outside of its folder"):
        read_volume(path)


@pytest.mark.parametrize(
    "header",
    [
        (".mhd", meta("scan.raw").replace("6 5 4", "600 500 400")),
        (".mhd", meta("scan.raw", "CompressedData = True\n").replace("6 5 4", "600 500 400")),
        (".nhdr", nrrd("scan.raw").replace("6 5 4", "600 500 400")),
        (".nhdr", nrrd("scan.raw", "gzip").replace("6 5 4", "600 500 400")),
    ],
)
def test_a_small_file_that_claims_much_is_refused(tmp_path, header):
    ending, text = header
    path = write(tmp_path, ending, lambda _: text)
    with pytest.raises(ScanError, match="too small for the 240000000 bytes it claims"):
        read_volume(path)


@pytest.mark.parametrize(("ending", "header"), [(".mhd", meta), (".nhdr", nrrd)])
def test_a_name_behind_a_long_header_is_not_overlooked(tmp_path, ending, header):
    text = header("/etc/passwd")
    first, rest = text.split("\n", 1)
    filler = "Comment = x\n" if header is meta else "# comment\n"
    path = tmp_path / f"scan{ending}"
    path.write_text(f"{first}\n{filler * 30_000}{rest}")
    with pytest.raises(ScanError, match="a header of more than 262144 bytes"):
        read_volume(path)


def test_a_colon_is_as_good_as_an_equals_sign(tmp_path):
    path = write(tmp_path, ".mhd", lambda name: meta(name).replace("File =", "File :"))
    assert np.array_equal(read_volume(path).array, ARRAY)
    path = write(tmp_path, ".mhd", lambda _: meta("/etc/passwd").replace("File =", "File :"))
    with pytest.raises(ScanError, match="outside of its folder"):
        read_volume(path)


@pytest.mark.parametrize("ending", [".mhd", ".nhdr"])
def test_voxels_as_text_are_read(tmp_path, ending):
    numbers = " ".join(map(str, (ARRAY % 7).ravel()))
    text = meta("scan.txt").replace("BinaryData = True", "BinaryData = False")
    text = text if ending == ".mhd" else nrrd("scan.txt", "ascii")
    (tmp_path / "scan.txt").write_text(numbers + "\n")
    path = tmp_path / f"scan{ending}"
    path.write_text(text.replace("MET_SHORT", "MET_DOUBLE").replace("short", "double"))
    assert np.array_equal(read_volume(path).array, ARRAY % 7)
