"""Detection of edited labels and of their grids; no voxels of labels are read."""

import shutil
from dataclasses import asdict

import numpy as np
import pytest

from clisc_nnunet.dataset_conversion.corrected_labels import add_to_trusted, find_trusted
from clisc_nnunet.dataset_layout import TRUSTED_FILE, DatasetLayout
from clisc_nnunet.errors import UserError
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.io.volume import Geometry, scan_digest, write_volume
from clisc_nnunet.pipeline.case_result import CaseOutcome
from clisc_nnunet.pipeline.result_cache import Fingerprint, ResultCache
from clisc_nnunet.trainers import case_lists

GRID = Geometry((4, 4, 3), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
MOVED = Geometry((4, 4, 3), (1.0, 1.0, 2.0), (9.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


@pytest.fixture
def dataset(tmp_path):
    """Folder, scans and cache of a dataset of one case with a label written by a run."""
    label, scan = tmp_path / "labelsTr" / "a.nii.gz", tmp_path / "scans" / "a.nii.gz"
    for path in (label, scan):
        write_volume(path, np.eye(4, dtype=np.uint8)[None].repeat(3, 0), GRID)
    cache = ResultCache(tmp_path / "clisc" / "stages")
    outcome = asdict(CaseOutcome("a", "labelled", "drawn", label_ml=0.024))
    cache.write_record("a", "label", {"sha256": ["old", file_sha256(label)], "outcome": outcome})
    cache.save("a", "slices", Fingerprint(scan_digest(scan)), {})
    return tmp_path, {"a": scan, "b": tmp_path / "scans" / "b.nii.gz"}, cache


def correct(folder, grid=GRID):
    write_volume(folder / "labelsTr" / "a.nii.gz", np.ones(grid.shape, np.uint8), grid)


def test_what_a_run_has_drawn_is_its_own(dataset):
    assert find_trusted(*dataset) == ({}, {})


def test_what_no_run_has_drawn_is_a_persons(dataset, monkeypatch):
    correct(dataset[0])
    monkeypatch.setattr("SimpleITK.ReadImage", None)  # headers are read by another function
    found, _ = find_trusted(*dataset)
    assert found == {"a": CaseOutcome("a", "trusted", "label corrected by a person")}


def test_a_label_that_was_checked_keeps_its_figures(dataset):
    (dataset[0] / "clisc" / TRUSTED_FILE).write_text("# mine\na  # fine\n")
    outcome = find_trusted(*dataset)[0]["a"]
    assert (outcome.status, outcome.label_ml) == ("trusted", 0.024)
    assert "checked by a person" in outcome.reason


def test_a_label_on_another_grid_is_refused(dataset):
    correct(dataset[0], MOVED)
    with pytest.raises(UserError, match=r"labelsTr/a.nii.gz: found a corrected label.*at 9 x"):
        find_trusted(*dataset)


def hand_back(dataset, how):
    """The label of `a` was corrected or checked; its old image is in the dataset."""
    folder, scans, _ = dataset
    shutil.copytree(scans["a"].parent, folder / "imagesTr")
    (folder / "imagesTr" / "a.nii.gz").rename(folder / "imagesTr" / "a_0000.nii.gz")
    if how == "checked":
        (folder / "clisc" / TRUSTED_FILE).write_text("a")
    else:
        correct(folder)


@pytest.mark.parametrize("how", ["checked", "corrected"])
def test_another_scan_on_the_same_grid_is_reported(dataset, how, capsys):
    hand_back(dataset, how)
    assert find_trusted(*dataset)[0]["a"].status == "trusted"
    assert "warning" not in capsys.readouterr().out
    write_volume(dataset[1]["a"], np.arange(48.0).reshape(GRID.shape), GRID)
    found, faults = find_trusted(*dataset)
    assert (found["a"].status, faults) == ("trusted", {})
    assert "warning: a: " in capsys.readouterr().out


@pytest.mark.parametrize("how", ["checked", "corrected"])
def test_another_scan_on_another_grid_skips_its_case(dataset, how):
    hand_back(dataset, how)
    write_volume(dataset[1]["a"], np.arange(48.0).reshape(GRID.shape), MOVED)
    found, faults = find_trusted(*dataset)
    assert (found, list(faults)) == ({}, ["a"])
    assert "not the scan that" in str(faults["a"]) and "at 9 x" in faults["a"].found


@pytest.mark.parametrize("how", ["checked", "corrected"])
@pytest.mark.parametrize("known", [True, False])
def test_a_damaged_scan_skips_its_case(dataset, how, known):
    hand_back(dataset, how)
    if not known:
        dataset[2].path("a", "slices").unlink()
    dataset[1]["a"].write_bytes(b"not a scan")
    found, faults = find_trusted(*dataset)
    assert (found, list(faults)) == ({}, ["a"])


def test_trusted_cases_are_added_once_and_other_lines_stay(tmp_path):
    dataset = DatasetLayout(tmp_path)
    dataset.clisc.mkdir()
    dataset.trusted_txt.write_text("# mine\nb")
    for _ in range(2):
        add_to_trusted(dataset, ["b", "a"])
    assert dataset.trusted_txt.read_text() == "# mine\nb\na  # corrected in labelsTr\n"
    lists = case_lists.read_case_lists(dataset.clisc, ["a", "b"])
    assert lists.trusted == {"a", "b"}
