"""clisc_segment with the bundled network, on small phantoms."""

import csv
import shutil

import numpy as np
import pytest
import torch
from helpers.acquisitions import turned

from clisc_nnunet.cli.make_phantoms import main as make_phantoms
from clisc_nnunet.cli.segment import main
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


def test_volumes_and_a_picture_lie_beside_them(segmented):
    rows = list(csv.DictReader((segmented / "volumes.csv").open()))
    assert [row["case"] for row in rows] == ["phantom_0000", "phantom_0001"]
    assert all(5 < float(row["tumour_ml"]) < 300 for row in rows)
    assert all(800 < float(row["brain_ml"]) < 2500 for row in rows)
    assert (segmented / "segmentations.png").stat().st_size > 10_000


def test_one_scan_in_another_orientation_gets_the_same_mask(phantoms, segmented, tmp_path):
    path = phantoms / "images" / "phantom_0000" / "phantom_0000_flair.nii.gz"
    scan = turned(read_volume(path), "PIR")
    write_volume(tmp_path / "one.nii.gz", scan.array, scan.geometry)
    assert main(["-i", str(tmp_path / "one.nii.gz"), "-o", str(tmp_path / "out")]) == 0
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


def test_intensities_may_have_any_unit(phantoms):
    path = phantoms / "images" / "phantom_0001" / "phantom_0001_flair.nii.gz"
    scan = read_volume(path)
    predictor = VolumePredictor.bundled(torch.device("cpu"))
    mask, brain = segment_scan(predictor, scan)
    head = scan.array != 0
    scaled = np.where(head, 0.01 * scan.array - 3, 0).astype(np.float32)
    again, _ = segment_scan(predictor, type(scan)(scaled, scan.geometry))
    assert mask.any() and (mask <= brain).all()
    assert dice(mask, again) > 0.99
