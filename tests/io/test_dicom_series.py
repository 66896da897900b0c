import shutil

import numpy as np
import pytest
from helpers.dicom_files import ARRAY, GRID, write_series

from clisc_nnunet.errors import ScanError
from clisc_nnunet.inputs.channels import Channel
from clisc_nnunet.inputs.find_cases import find_cases
from clisc_nnunet.io.dicom_series import Series, find_series
from clisc_nnunet.io.volume import read_geometry, read_volume, same_grid, scan_digest


def test_a_series_gives_its_volume(tmp_path):
    write_series(tmp_path, "1.2.3")
    (series,) = find_series(tmp_path).series
    assert (series.uid, series.description, len(series.files)) == ("1.2.3", "FLAIR", 6)
    volume = read_volume(series)
    assert np.array_equal(volume.array, ARRAY)
    assert same_grid(volume.geometry, GRID) and same_grid(read_geometry(series), GRID)


def test_file_names_and_order_do_not_matter(tmp_path):
    write_series(tmp_path / "a", "1.2.3")
    (tmp_path / "b").mkdir()
    names = ["f", "b.bin", "c.dcm", "a", "z.x", "0"]
    for path, name in zip((tmp_path / "a").iterdir(), names, strict=True):
        shutil.copy(path, tmp_path / "b" / name)
    one, other = (find_series(tmp_path / name).series[0] for name in "ab")
    assert np.array_equal(read_volume(one).array, read_volume(other).array)
    assert scan_digest(one) == scan_digest(other)


def test_series_of_one_folder_are_reported_apart(tmp_path):
    write_series(tmp_path / "anna" / "deep", "1.2.3", "Sag T2 FLAIR")
    write_series(tmp_path / "anna" / "deep", "1.2.4", "t1_mprage")
    write_series(tmp_path / "berta", "1.2.5", "unnamed", study="1.8")
    write_series(tmp_path / "carla", "1.2.6", "t1_mprage", study="1.7")
    (tmp_path / "anna" / "notes.txt").write_text("no DICOM")
    found = find_cases(tmp_path)
    assert found.layout == "DICOM"
    assert [(c.name, c.image.description) for c in found.cases] == [
        ("anna", "Sag T2 FLAIR"),
        ("berta", "unnamed"),
    ]
    assert "no FLAIR among 1 scans of case carla" in str(dict(found.faults)["carla"])
    left_out = [(s.description, why) for s, why in found.ignored]
    assert ("t1_mprage", "not FLAIR, by its description") in left_out


def test_a_localiser_next_to_flair_is_skipped(tmp_path):
    for number, words in enumerate(("AX T2 FLAIR", "localizer", "T1 SE", "key images")):
        write_series(tmp_path / "anna", f"1.2.{number}", words, planes=(0, 1))
    found = find_cases(tmp_path)
    assert [(c.name, c.image.description) for c in found.cases] == [("anna", "AX T2 FLAIR")]
    assert found.faults == ()
    left_out = {series.description for series, _ in found.ignored}
    assert left_out == {"localizer", "T1 SE", "key images"}


def test_a_lone_series_of_unknown_kind_is_used_and_not_listed_as_skipped(tmp_path):
    write_series(tmp_path / "anna", "1.2.3", "SPACE dunkel", planes=(0, 1))
    found = find_cases(tmp_path)
    assert [case.name for case in found.cases] == ["anna"]
    assert found.ignored == ()
    assert found.channels == (
        "channel 0: flair (series described as flair, or the only series if its kind is unknown)",
    )


@pytest.mark.parametrize(
    "description", ["localizer", "3-plane loc", "AAHead_Scout", "TOF 3D", "3D_TOF", "Segmentation"]
)
def test_a_lone_series_of_another_kind_is_not_taken_for_flair(tmp_path, description):
    write_series(tmp_path / "anna", "1.2.3", planes=(0, 1))
    write_series(tmp_path / "berta", "1.2.4", description, planes=(0, 1), study="1.8")
    found = find_cases(tmp_path)
    assert [case.name for case in found.cases] == ["anna"]
    assert "no FLAIR among 1 scans of case berta (other)" in str(dict(found.faults)["berta"])
    given = find_cases(tmp_path, (Channel("flair", description.lower()),))
    assert [case.name for case in given.cases] == ["berta"]


def test_two_series_of_unknown_kind_are_reported(tmp_path):
    write_series(tmp_path / "anna", "1.2.3", planes=(0, 1))
    for number, words in enumerate(("first", "second")):
        write_series(tmp_path / "berta", f"1.3.{number}", words, planes=(0, 1), study="1.8")
    found = find_cases(tmp_path)
    assert "2 files for case berta (first, second)" in str(dict(found.faults)["berta"])
    assert found.ignored == ()


def test_other_scans_next_to_series_are_reported(tmp_path):
    write_series(tmp_path / "anna", "1.2.3")
    (tmp_path / "anna" / "converted").mkdir()
    (tmp_path / "anna" / "converted" / "anna_flair.nii.gz").touch()
    (tmp_path / "gt_seg.nii.gz").touch()
    found = find_cases(tmp_path)
    assert [case.name for case in found.cases] == ["anna"]
    assert isinstance(found.cases[0].image, Series)
    assert [path.name for path, _ in found.ignored] == ["anna_flair.nii.gz", "gt_seg.nii.gz"]


def test_files_and_series_of_different_patients_are_both_taken(tmp_path):
    write_series(tmp_path / "anna", "1.2.3")
    for name in ("berta/berta_flair.nii.gz", "anna/gt.nii.gz", "carla/flair.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    write_series(tmp_path / "carla" / "dicom", "1.2.4", study="1.8")
    found = find_cases(tmp_path)
    assert found.layout == "NIfTI and DICOM"
    assert "both are used" in found.notes[0]
    kinds = {case.name: type(case.image).__name__ for case in found.cases}
    assert kinds == {"anna": "Series", "berta": "PosixPath", "carla": "PosixPath"}


def test_of_several_series_the_original_3d_scan_before_contrast_is_taken(tmp_path):
    for number, words in enumerate(("FLAIR 3D MPR tra", "FLAIR 3D KM", "FLAIR 3D", "FLAIR 2D")):
        write_series(tmp_path / "anna", f"1.2.{number}", words, planes=(0, 1))
    found = find_cases(tmp_path)
    assert [case.image.description for case in found.cases] == ["FLAIR 3D"]
    assert len(found.ignored) == 3 and all("before contrast" in why for _, why in found.ignored)


def test_a_case_with_a_truncated_slice_is_skipped(tmp_path):
    write_series(tmp_path / "anna", "1.2.3")
    write_series(tmp_path / "berta", "1.2.4", study="1.8")
    cut = sorted((tmp_path / "anna").iterdir())[-1]
    cut.write_bytes(cut.read_bytes()[:420])
    found = find_cases(tmp_path)
    readable = [case.name for case in found.cases]
    if "anna" in readable:  # the header was whole: it is told when the pixels are read
        anna = next(case for case in found.cases if case.name == "anna")
        with pytest.raises(ScanError, match="cannot be read"):
            read_volume(anna.image)
    else:
        assert readable == ["berta"]
        assert "cannot be read" in str(dict(found.faults)["anna"])
