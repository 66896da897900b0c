from __future__ import annotations

import gzip
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clisc_nnunet.dataset_conversion import nnunet_dataset
from clisc_nnunet.dataset_conversion.nnunet_dataset import (
    dataset_folder,
    describe_next_commands,
    place_case,
    place_image,
    write_dataset_json,
    write_image_with_zero_background,
)
from clisc_nnunet.errors import ScanError, UserError
from clisc_nnunet.io.volume import Geometry, Volume, read_volume, write_volume

GEOMETRY = Geometry((8, 7, 6), (1.0, 1.5, 2.0), (-3.0, 4.0, 5.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


@pytest.fixture(autouse=True)
def no_nnunet_folders(monkeypatch):
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(variable, raising=False)


def make_volume(background: float = 0.0) -> Volume:
    array = np.full(GEOMETRY.shape, background, np.float32)
    array[1:5, 1:6, 1:7] = background + np.random.default_rng(0).normal(100, 9, (4, 5, 6))
    return Volume(array, GEOMETRY)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "a_flair.nii.gz"
    write_volume(path, make_volume().array, GEOMETRY)
    return path


def test_folder_is_made_under_nnunet_raw(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    folder = dataset_folder(7, "CLISC")
    assert folder == tmp_path / "raw" / "Dataset007_CLISC"
    assert sorted(p.name for p in folder.iterdir()) == ["clisc", "imagesTr", "labelsTr"]


@pytest.mark.parametrize(
    ("dataset_id", "name", "message"),
    [
        (0, "CLISC", "-d: found 0; expected a number from 1 to 999"),
        (1000, "CLISC", "expected a number from 1 to 999"),
        (5, "a/b", "dataset name: found 'a/b'"),
        (5, "", "dataset name: found ''"),
    ],
)
def test_bad_id_or_name(tmp_path, dataset_id, name, message):
    with pytest.raises(UserError, match=message):
        dataset_folder(dataset_id, name, tmp_path)


def test_no_root():
    with pytest.raises(UserError, match="nnUNet_raw: found a variable that is not set"):
        dataset_folder(501, "CLISC")


def test_root_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="expected a writable folder"):
        dataset_folder(501, "CLISC", tmp_path / "file")


def test_id_taken_by_another_name(tmp_path, monkeypatch):
    (tmp_path / "raw" / "Dataset501_Other").mkdir(parents=True)
    with pytest.raises(UserError, match="Dataset501_Other: found dataset id 501 in use"):
        dataset_folder(501, "CLISC", tmp_path / "raw", resume=True)
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    (tmp_path / "results" / "Dataset502_Other").mkdir(parents=True)
    with pytest.raises(UserError, match=r"results.Dataset502_Other: found dataset id 502 in use"):
        dataset_folder(502, "CLISC", tmp_path / "raw")


def test_own_dataset_only_on_resume(tmp_path):
    folder = dataset_folder(501, "CLISC", tmp_path)
    kept = folder / "imagesTr" / "a.nii.gz"
    kept.touch()
    with pytest.raises(UserError, match="an existing dataset of this command"):
        dataset_folder(501, "CLISC", tmp_path)
    assert dataset_folder(501, "CLISC", tmp_path, resume=True) == folder
    assert kept.exists()


def test_dataset_of_others_is_never_continued(tmp_path):
    (tmp_path / "Dataset501_CLISC" / "imagesTr").mkdir(parents=True)
    with pytest.raises(UserError, match="not made by this command"):
        dataset_folder(501, "CLISC", tmp_path, resume=True)


def test_image_is_linked_or_copied(tmp_path, scan):
    images = dataset_folder(501, "CLISC", tmp_path) / "imagesTr"
    assert place_image(scan, images / "a_0000.nii.gz") == "link"
    assert os.readlink(images / "a_0000.nii.gz") == str(scan)
    assert place_image(scan, images / "b_0000.nii.gz", copy=True) == "copy"
    assert not (images / "b_0000.nii.gz").is_symlink()
    assert (images / "b_0000.nii.gz").read_bytes() == scan.read_bytes()
    assert place_image(scan, images / "a_0000.nii.gz") == "kept"
    assert place_image(scan, images / "b_0000.nii.gz", copy=True) == "kept"
    assert not list(tmp_path.glob("**/.*"))


def test_a_link_becomes_a_copy_and_follows_a_folder_that_has_moved(tmp_path, scan):
    target = dataset_folder(501, "CLISC", tmp_path) / "imagesTr" / "a_0000.nii.gz"
    place_image(scan, target)
    moved = tmp_path / "moved" / scan.name
    moved.parent.mkdir()
    shutil.copy(scan, moved)
    assert place_image(moved, target) == "link"
    assert os.readlink(target) == str(moved)
    assert place_image(moved, target, copy=True) == "copy"
    assert not target.is_symlink() and target.read_bytes() == scan.read_bytes()


def test_relative_source_is_linked_by_its_absolute_path(tmp_path, scan, monkeypatch):
    images = dataset_folder(501, "CLISC", tmp_path) / "imagesTr"
    monkeypatch.chdir(scan.parent)
    place_image(Path(scan.name), images / "a_0000.nii.gz")
    assert (images / "a_0000.nii.gz").read_bytes() == scan.read_bytes()


def test_without_symbolic_links(tmp_path, scan, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError("not supported")

    images = dataset_folder(501, "CLISC", tmp_path) / "imagesTr"
    monkeypatch.setattr(Path, "symlink_to", refuse)
    assert place_image(scan, images / "a_0000.nii.gz") == "hard link"
    assert (images / "a_0000.nii.gz").samefile(scan)
    monkeypatch.setattr(nnunet_dataset.os, "link", refuse)
    assert place_image(scan, images / "b_0000.nii.gz") == "copy"


def test_another_image_is_not_replaced(tmp_path, scan):
    target = dataset_folder(501, "CLISC", tmp_path) / "imagesTr" / "a_0000.nii.gz"
    target.write_bytes(gzip.compress(b"another"))
    with pytest.raises(UserError, match="found an existing file"):
        place_image(scan, target)
    assert gzip.decompress(target.read_bytes()) == b"another"


def test_other_endings_are_not_linked(tmp_path):
    with pytest.raises(ValueError, match=r"a\.mha does not end in \.nii\.gz"):
        place_image(tmp_path / "a.mha", tmp_path / "a_0000.nii.gz")


@pytest.mark.parametrize("background", [0.0, 5.0, -1024.0])
def test_background_becomes_zero(tmp_path, background):
    target = tmp_path / "a_0000.nii.gz"
    write_image_with_zero_background(make_volume(background), target)
    written = read_volume(target)
    assert written.geometry == GEOMETRY
    np.testing.assert_array_equal(written.array != 0, make_volume().array != 0)
    np.testing.assert_allclose(written.array, make_volume().array, atol=1e-3)


def test_brain_of_zero_is_not_taken_for_background(tmp_path):
    volume = make_volume(5.0)
    volume.array[2, 2, 2] = 0.0
    write_image_with_zero_background(volume, tmp_path / "a_0000.nii.gz")
    assert read_volume(tmp_path / "a_0000.nii.gz").array[2, 2, 2] == -5.0


def test_dataset_json(tmp_path):
    clisc = {
        "sam": {"name": "bundled", "file": "/home/me/sam.pt"},
        "like": "medsam=/home/me/m.pth",
        "files": [Path("/data/x.json")],
    }
    write_dataset_json(tmp_path, n_cases=3, clisc=clisc)
    assert json.loads((tmp_path / "dataset.json").read_text()) == {
        "channel_names": {"0": "FLAIR"},
        "labels": {"background": 0, "tumour": 1},
        "numTraining": 3,
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "SimpleITKIO",
        "clisc": {
            "sam": {"name": "bundled", "file": "sam.pt"},
            "like": "medsam=m.pth",
            "files": ["x.json"],
        },
    }
    with pytest.raises(UserError, match="a file with other content"):
        write_dataset_json(tmp_path, n_cases=4, clisc=clisc)
    with pytest.raises(ValueError, match="at least one case"):
        write_dataset_json(tmp_path, n_cases=0, clisc={})


def test_settings_for_the_trainer_stay_in_dataset_json(tmp_path):
    path, chosen = tmp_path / "dataset.json", {"rounds": [0.4, 0.7], "sam": "/home/me/sam.pth"}
    write_dataset_json(tmp_path, n_cases=3, clisc={"sam": "old"})
    content = json.loads(path.read_text())
    content["clisc"]["trainer"] = chosen
    path.write_text(json.dumps(content))
    write_dataset_json(tmp_path, n_cases=4, clisc={"sam": "new"}, overwrite=True)
    content = json.loads(path.read_text())
    assert content["numTraining"] == 4
    assert content["clisc"] == {"sam": "new", "trainer": chosen}


@pytest.mark.parametrize("content", [{}, {"clisc": None}, {"clisc": {"trainer": None}}])
def test_where_nothing_is_set_for_the_trainer_nothing_is_added(tmp_path, content):
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    write_dataset_json(tmp_path, n_cases=4, clisc={"sam": "new"}, overwrite=True)
    assert json.loads((tmp_path / "dataset.json").read_text())["clisc"] == {"sam": "new"}


@pytest.mark.parametrize("text", ['{"clisc": {"trainer": {},}}', "[]"])
def test_a_dataset_json_that_cannot_be_read_is_not_replaced(tmp_path, text):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(UserError, match=r"dataset.json: .*expected a JSON object; fix"):
        write_dataset_json(tmp_path, n_cases=4, clisc={}, overwrite=True)
    assert (tmp_path / "dataset.json").read_text() == text


def test_nnunet_accepts_the_dataset(tmp_path, scan, capfd):
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    folder = dataset_folder(501, "CLISC", tmp_path)
    place_image(scan, folder / "imagesTr" / "case 1.x_0000.nii.gz")
    write_image_with_zero_background(make_volume(5.0), folder / "imagesTr" / "b_0000.nii.gz")
    for name in ("case 1.x", "b"):
        label = make_volume().array > 100
        write_volume(folder / "labelsTr" / f"{name}.nii.gz", label, GEOMETRY)
    write_dataset_json(folder, n_cases=2, clisc={"sam": "bundled"})
    verify_dataset_integrity(str(folder), num_processes=1)
    captured = capfd.readouterr()
    assert "verify_dataset_integrity Done" in captured.out
    assert "warning" not in (captured.out + captured.err).lower()


def test_next_commands_name_the_dataset():
    assert "nnUNetv2_train 501 3d_fullres all" in describe_next_commands(501)


def test_a_case_with_two_channels_and_a_repaired_header(tmp_path, scan):
    folder = dataset_folder(501, "CLISC", tmp_path)
    rounded = replace(GEOMETRY, origin=(-3.0002, 4.0, 5.0))
    write_volume(tmp_path / "t1.nii.gz", make_volume().array, rounded)
    place_case([tmp_path / "t1.nii.gz", scan], scan, "a", folder)
    assert (folder / "imagesTr" / "a_0001.nii.gz").is_symlink()
    t1 = folder / "imagesTr" / "a_0000.nii.gz"
    assert not t1.is_symlink()
    assert read_volume(t1).geometry == GEOMETRY
    with pytest.raises(ScanError, match="resample it"):
        write_volume(
            tmp_path / "t1.nii.gz", make_volume().array, replace(rounded, origin=(0.0, 4.0, 5.0))
        )
        place_case([tmp_path / "t1.nii.gz", scan], scan, "a", folder)
