"""Labels that a person has corrected or checked are kept, and change no other label."""

import json
import shutil

import pytest
import SimpleITK as sitk
from helpers.quick import clisc, convert, labels

pytestmark = pytest.mark.slow


def test_corrected_labels_are_picked_up_and_kept(scans, unbroken, copy, capsys):
    path = copy / "Dataset501_CLISC" / "labelsTr" / "phantom_0000.nii.gz"
    label = sitk.ReadImage(str(path))
    label[5, 5, 5] = 1
    sitk.WriteImage(label, str(path))
    corrected = path.read_bytes()
    capsys.readouterr()
    report = copy / "end.json"
    more = ["--continue", "--set", "pseudo_label.fill_holes=false", "--report", str(report)]
    assert convert(scans, copy, *more) == 0
    assert "phantom_0000: label corrected by a person; left unchanged" in capsys.readouterr().out
    assert path.read_bytes() == corrected
    assert (clisc(copy) / "trusted.txt").read_text() == "phantom_0000  # corrected in labelsTr\n"
    cases = {case["case"]: case["status"] for case in json.loads(report.read_text())["cases"]}
    assert cases["phantom_0000"] == "trusted"
    assert convert(scans, copy, "--continue") == 0  # the others are unchanged
    others = {k: v for k, v in labels(unbroken).items() if k != path.name}
    assert {k: v for k, v in labels(copy).items() if k != path.name} == others
    assert (clisc(copy) / "trusted.txt").read_text().count("phantom_0000") == 1


def test_corrected_labels_that_cannot_be_used_are_refused_alone(
    scans, unbroken, copy, tmp_path, capsys
):
    path = copy / "Dataset501_CLISC" / "labelsTr" / "phantom_0000.nii.gz"
    label = sitk.ReadImage(str(path))
    label.SetOrigin((1.0, 2.0, 3.0))
    sitk.WriteImage(label, str(path))
    saved, others = path.read_bytes(), labels(unbroken)
    others.pop(path.name)
    report = tmp_path / "end.json"
    assert convert(scans, copy, "--continue", "--report", str(report)) == 3
    assert "the grid of its scan" in capsys.readouterr().err
    assert labels(copy) == {**others, path.name: saved}
    # No label was drawn again: the case has only left the dataset.
    cases = {case["case"]: case["status"] for case in json.loads(report.read_text())["cases"]}
    assert cases["phantom_0000"] == "failed"
    assert not list(copy.glob("*/imagesTr/phantom_0000*"))
    path.unlink()
    assert convert(scans, copy, "--continue") == 0
    assert labels(copy) == labels(unbroken)


def test_a_label_in_slicers_format_is_taken_and_lists_travel(
    scans, copy, tmp_path, monkeypatch, capsys
):
    preprocessed = tmp_path / "preprocessed" / "Dataset501_CLISC"
    preprocessed.mkdir(parents=True)
    monkeypatch.setenv("nnUNet_preprocessed", str(preprocessed.parent))
    path = copy / "Dataset501_CLISC" / "labelsTr" / "phantom_0000.nii.gz"
    label = sitk.ReadImage(str(path))
    label[5, 5, 5] = 1
    sitk.WriteImage(sitk.DICOMOrient(label, "RAS"), str(path.with_name("phantom_0000.seg.nrrd")))
    assert convert(scans, copy, "--continue") == 0
    assert "put back into the orientation of its scan" in capsys.readouterr().out
    placed = sitk.ReadImage(str(path))
    assert (sitk.GetArrayFromImage(placed) == sitk.GetArrayFromImage(label)).all()
    assert placed.GetOrigin() == label.GetOrigin()
    assert (preprocessed / "clisc" / "trusted.txt").read_text().startswith("phantom_0000")
    assert (preprocessed / "clisc" / "exclude.txt").read_text() == ""


def test_a_label_whose_record_is_lost_is_not_a_persons(scans, unbroken, copy, capsys):
    (clisc(copy) / "stages" / "phantom_0000" / "label.json").write_text("")
    assert convert(scans, copy, "--continue") == 3
    assert "label.json is missing or empty" in capsys.readouterr().err
    assert labels(copy) == labels(unbroken)
    assert not (clisc(copy) / "trusted.txt").exists()
    (copy / "Dataset501_CLISC" / "labelsTr" / "phantom_0000.nii.gz").unlink()
    assert convert(scans, copy, "--continue") == 0
    assert labels(copy) == labels(unbroken)


def test_a_checked_label_whose_scan_was_replaced_is_skipped(scans, copy, tmp_path, capsys):
    shutil.copytree(scans, tmp_path / "scans")
    path = next((tmp_path / "scans" / "phantom_0001").glob("*flair*"))
    scan = sitk.ReadImage(str(path))
    scan.SetOrigin((1.0, 2.0, 3.0))
    sitk.WriteImage(scan, str(path))
    (clisc(copy) / "trusted.txt").write_text("phantom_0001")
    before = labels(copy)["phantom_0001.nii.gz"]
    assert convert(tmp_path / "scans", copy, "--continue") == 3
    assert "not the scan that" in capsys.readouterr().err
    assert labels(copy)["phantom_0001.nii.gz"] == before
    assert not list(copy.glob("*/imagesTr/phantom_0001*"))


def test_a_checked_label_is_never_drawn_again(scans, copy):
    (clisc(copy) / "trusted.txt").write_text("phantom_0001 # looks right\n")
    before = labels(copy)["phantom_0001.nii.gz"]
    assert convert(scans, copy, "--continue", "--set", "pseudo_label.min_case_iou=0.99") in (0, 4)
    assert labels(copy)["phantom_0001.nii.gz"] == before
