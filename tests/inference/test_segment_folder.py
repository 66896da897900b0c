"""clisc_segment with the bundled network, on small phantoms."""

import csv
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from helpers.acquisitions import turned
from helpers.tiny_nnunet import NAME
from helpers.tiny_nnunet import head as tiny_head
from helpers.trained_model import make_model
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from clisc_nnunet.cli.make_phantoms import main as make_phantoms
from clisc_nnunet.cli.segment import main
from clisc_nnunet.dataset_conversion.prepare_scans import main as prepare_scans
from clisc_nnunet.inference.volume_predictor import VolumePredictor, segment_scan
from clisc_nnunet.io.volume import (
    Volume,
    read_geometry,
    read_mask,
    read_volume,
    same_grid,
    write_volume,
)
from clisc_nnunet.metrics import dice

CALL = ["-n", "2", "--seed", "500", "--spacing", "3", "--tumour-free", "0"]


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    assert make_phantoms(["-o", str(folder), *CALL]) == 0
    return folder


@pytest.fixture(scope="module")
def segmented(phantoms, tmp_path_factory):
    out = tmp_path_factory.mktemp("masks") / "out"
    assert main(["-i", str(phantoms / "images"), "-o", str(out)]) == 0
    return out


def test_masks_lie_on_the_scans_grid_and_on_the_tumours(phantoms, segmented):
    for file in sorted((phantoms / "labels").glob("*.nii.gz")):
        case = file.name.removesuffix(".nii.gz")
        scan = read_volume(phantoms / "images" / case / f"{case}_flair.nii.gz")
        mask = read_mask(segmented / file.name, scan.geometry)
        assert same_grid(read_geometry(segmented / file.name), scan.geometry)
        assert dice(mask, read_mask(file, scan.geometry)) > 0.5


def test_volumes_quality_and_a_page_lie_beside_them(segmented):
    rows = list(csv.DictReader((segmented / "volumes.csv").open()))
    assert [row["case"] for row in rows] == ["phantom_0000", "phantom_0001"]
    assert all(5 < float(row["tumour_ml"]) < 300 for row in rows)
    assert all(800 < float(row["brain_ml"]) < 2500 for row in rows)
    assert all(0 < float(row["quality"]) < 1 for row in rows)
    page = (segmented / "segmentations.html").read_text(encoding="utf-8")
    assert page.count('class="label"') == 6 and page.count("estimated</p>") == 2


def test_one_scan_in_another_orientation_gets_the_same_mask(phantoms, segmented, tmp_path):
    path = phantoms / "images" / "phantom_0000" / "phantom_0000_flair.nii.gz"
    scan = turned(read_volume(path), "PIR")
    write_volume(tmp_path / "one.nii.gz", scan.array, scan.geometry)
    call = ["-i", str(tmp_path / "one.nii.gz"), "-o", str(tmp_path / "out"), "--no-quality"]
    assert main(call) == 0
    assert (tmp_path / "out" / "volumes.csv").read_text().endswith(",\n")
    mask = read_mask(tmp_path / "out" / "one.nii.gz", scan.geometry)
    upright = read_volume(path).geometry
    straight = read_mask(segmented / "phantom_0000.nii.gz", upright)
    expected = turned(Volume(straight.astype(np.float32), upright), "PIR")
    assert dice(mask, expected.array > 0) > 0.99


def test_a_damaged_scan_is_skipped_and_the_others_are_segmented(phantoms, tmp_path, capsys):
    scans = tmp_path / "scans"
    shutil.copytree(phantoms / "images", scans)
    damaged = scans / "phantom_0000" / "phantom_0000_flair.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:3000])
    out = tmp_path / "out"
    assert main(["-i", str(scans), "-o", str(out)]) == 3
    assert "phantom_0000_flair.nii.gz: found a file that cannot be read" in capsys.readouterr().err
    assert [path.name for path in out.glob("*.nii.gz")] == ["phantom_0001.nii.gz"]


def test_a_folder_that_is_not_empty_is_left_alone(phantoms, segmented, capsys):
    before = {path.name: path.read_bytes() for path in segmented.iterdir()}
    assert main(["-i", str(phantoms / "images"), "-o", str(segmented)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in segmented.iterdir()} == before


def test_a_folder_without_a_model_is_one_line(phantoms, tmp_path, capsys):
    call = ["-i", str(phantoms / "images"), "-o", str(tmp_path / "out"), "-m", str(tmp_path)]
    assert main(call) == 2
    assert "no trained model" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def scan(tmp_path):
    """A small head whose file is neither axial nor has a background of 0."""
    image = sitk.GetImageFromArray(tiny_head(3)[0] + 7)
    image.SetSpacing((6.0, 6.0, 6.0))
    path = tmp_path / "scans" / "one.nii.gz"
    path.parent.mkdir()
    sitk.WriteImage(sitk.DICOMOrient(image, "RSA"), str(path))
    return path


def test_a_trained_network_gives_the_mask_of_nnunet(scan, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    model = make_model(tmp_path / "results" / NAME, folds=("0", "1"))
    assert main(["-i", str(scan), "-o", str(tmp_path / "out"), "-d", "7", "-f", "0", "1"]) == 0

    assert prepare_scans(["-i", str(scan.parent), "-o", str(tmp_path / "prepared")]) == 0
    usual = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    usual.initialize_from_trained_model_folder(str(model), (0, 1))
    ready = str(tmp_path / "prepared" / "one_0000.nii.gz")
    usual.predict_from_files_sequential([[ready]], [str(tmp_path / "expected.nii.gz")])
    found, expected = (
        read_mask(path, read_geometry(path))
        for path in (tmp_path / "out" / "one.nii.gz", tmp_path / "expected.nii.gz")
    )
    assert 0.01 < expected.mean() < 0.99
    np.testing.assert_array_equal(found, expected)
    assert f"{NAME}/{model.name}" in (tmp_path / "out" / "segmentations.html").read_text()


def test_one_fold_and_the_brain_alone(scan, tmp_path):
    model = make_model(tmp_path, folds=("0", "1"))
    masks = {}
    for name, options in (("all", []), ("one", ["-f", "1"]), ("brain", ["--strip"])):
        call = ["-i", str(scan), "-o", str(tmp_path / name), "-m", str(model), "--no-quality"]
        assert main([*call, *options]) == 0
        masks[name] = read_mask(tmp_path / name / "one.nii.gz", read_geometry(scan))
    brain = read_volume(scan).array != 7
    assert (masks["one"] != masks["all"]).any()
    assert masks["all"][~brain].any() and not masks["brain"][~brain].any()


def test_a_checkpoint_that_cannot_be_loaded_is_one_line(scan, tmp_path, capsys):
    model = make_model(tmp_path)
    checkpoint = model / "fold_0" / "checkpoint_final.pth"
    checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    assert main(["-i", str(scan), "-o", str(tmp_path / "out"), "-m", str(model)]) == 2
    assert "found a model that nnU-Net cannot load" in capsys.readouterr().err


def test_bfloat16_and_float32_give_the_same_mask(phantoms):
    scan = read_volume(next(phantoms.glob("images/*/*.nii.gz")))
    predictor, masks = VolumePredictor.bundled(torch.device("cpu")), []
    for precision in ("fp32", "bf16"):
        predictor.precision = precision
        masks.append(segment_scan(predictor, scan).mask)
    assert masks[0].any() and dice(*masks) > 0.995


def test_intensities_may_have_any_unit(phantoms):
    path = phantoms / "images" / "phantom_0001" / "phantom_0001_flair.nii.gz"
    scan = read_volume(path)
    predictor = VolumePredictor.bundled(torch.device("cpu"))
    found = segment_scan(predictor, scan)
    head = scan.array != 0
    scaled = np.where(head, 0.01 * scan.array - 3, 0).astype(np.float32)
    again = segment_scan(predictor, type(scan)(scaled, scan.geometry))
    assert found.mask.any() and (found.mask <= found.brain).all()
    assert dice(found.mask, again.mask) > 0.99
