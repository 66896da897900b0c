"""Detection of edited labels, and what is done with them where nnU-Net cannot use them."""

import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
from helpers.acquisitions import turned

from clisc_nnunet.dataset_conversion.corrected_labels import add_to_trusted, find_trusted
from clisc_nnunet.dataset_conversion.label_replacement import replace_label
from clisc_nnunet.dataset_layout import TRUSTED_FILE, DatasetLayout
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.io.sitk_images import read_image
from clisc_nnunet.io.volume import (
    Geometry,
    Volume,
    read_geometry,
    same_grid,
    scan_digest,
    write_volume,
)
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


def test_what_no_run_has_drawn_is_a_persons(dataset):
    correct(dataset[0])
    before = label_bytes(dataset)
    found, _ = find_trusted(*dataset)
    # Nothing about its voxels.
    assert found == {"a": CaseOutcome("a", "trusted", "label corrected by a person")}
    assert label_bytes(dataset) == before


def test_a_label_that_was_checked_keeps_its_figures(dataset):
    (dataset[0] / "clisc" / TRUSTED_FILE).write_text("# mine\na  # fine\n")
    outcome = find_trusted(*dataset)[0]["a"]
    assert (outcome.status, outcome.label_ml) == ("trusted", 0.024)
    assert "checked by a person" in outcome.reason


def label_bytes(dataset):
    return (dataset[0] / "labelsTr" / "a.nii.gz").read_bytes()


def refused(dataset, capsys):
    """Reason why the corrected label of `a` is not used; it stays as it is."""
    before = label_bytes(dataset)
    found, faults = find_trusted(*dataset)
    assert (found["a"].status, faults) == ("failed", {})
    assert label_bytes(dataset) == before
    assert f"skipped: {found['a'].reason}" in capsys.readouterr().err
    return found["a"].reason


def test_a_label_on_another_grid_is_refused_alone(dataset, capsys):
    correct(dataset[0], MOVED)
    assert "labelsTr/a.nii.gz: found a corrected label of 4 x" in refused(dataset, capsys)


@pytest.mark.parametrize("value", [-1.0, 0.37, np.nan])
def test_a_label_with_impossible_values_is_refused_alone(dataset, capsys, value):
    array = np.eye(4, dtype=np.float32)[None].repeat(3, 0)
    write_volume(dataset[0] / "labelsTr" / "a.nii.gz", array * np.float32(value), GRID)
    assert "expected 0 for background and 1 for tumour" in refused(dataset, capsys)


def test_a_label_that_was_cut_short_is_refused_alone(dataset, capsys):
    correct(dataset[0])
    path = dataset[0] / "labelsTr" / "a.nii.gz"
    path.write_bytes(path.read_bytes()[:-9])
    assert "a file that cannot be read" in refused(dataset, capsys)


TUMOUR = np.zeros(GRID.shape, np.uint8)
TUMOUR[1, 1:3, 2] = 1


def kept_copies(dataset):
    """Contents of the labels that were replaced."""
    folder = dataset[0] / "clisc" / "replaced_labels"
    return sorted(path.read_bytes() for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["255", "reoriented", "cropped"])
def test_a_label_is_written_again_as_nnunet_needs_it(dataset, kind, capsys):
    saved, path = Volume(TUMOUR, GRID), dataset[0] / "labelsTr" / "a.nii.gz"
    if kind == "255":
        saved = Volume(TUMOUR * 255, GRID)
    elif kind == "reoriented":
        saved = turned(saved, "RAS")
    else:
        saved = Volume(TUMOUR[1:2], replace(GRID, size=(4, 4, 1), origin=(0.0, 0.0, 2.0)))
    write_volume(path, saved.array, saved.geometry)
    before = path.read_bytes()
    for again in (False, True):
        found, faults = find_trusted(*dataset)
        assert (found["a"].status, faults) == ("trusted", {})
        assert same_grid(read_geometry(path), GRID)
        np.testing.assert_array_equal(read_image(path)[0], TUMOUR)
        assert before in kept_copies(dataset)
        assert ("written again" in capsys.readouterr().out) is not again
    assert [one.name for one in path.parent.iterdir()] == ["a.nii.gz"]


@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".seg.nrrd"])
@pytest.mark.parametrize("beside", [True, False])
def test_another_format_beside_or_instead_of_our_label_is_taken(dataset, ending, beside):
    ours = label_bytes(dataset)
    path = dataset[0] / "labelsTr" / "a.nii.gz"
    if not beside:
        path.unlink()
    for tumour in (TUMOUR, TUMOUR[::-1]):  # corrected twice
        write_volume(path.with_name(f"a{ending}"), tumour, GRID)
        assert find_trusted(*dataset)[0]["a"].status == "trusted"
        np.testing.assert_array_equal(read_image(path)[0], tumour)
        assert [one.name for one in path.parent.iterdir()] == ["a.nii.gz"]
    assert (ours in kept_copies(dataset)) is beside


def test_two_different_corrections_are_refused_alone(dataset, capsys):
    correct(dataset[0])
    write_volume(dataset[0] / "labelsTr" / "a.nii", TUMOUR, GRID)
    assert "a.nii: found another label than a.nii.gz" in refused(dataset, capsys)


def test_a_correction_interrupted_before_the_other_file_was_moved_is_finished(dataset):
    write_volume(dataset[0] / "labelsTr" / "a.nii", TUMOUR, GRID)
    replace_label(DatasetLayout(dataset[0]), "a", TUMOUR == 1, GRID)
    assert find_trusted(*dataset)[0]["a"].status == "trusted"
    assert not (dataset[0] / "labelsTr" / "a.nii").exists()


@pytest.mark.parametrize("record", [None, "", "{", "{}"])
def test_our_label_does_not_become_a_persons_when_its_record_is_lost(dataset, capsys, record):
    folder, _, cache = dataset
    cache.save("a", "masks", Fingerprint(), {})
    file = cache.root / "a" / "label.json"
    if record is None:
        file.unlink()
        cache.write_record("b", "label", {})  # other cases have theirs
    else:
        file.write_text(record)
    reason = refused(dataset, capsys)
    assert "label.json is missing or empty" in reason and "add a to trusted.txt" in reason
    (folder / "clisc" / TRUSTED_FILE).write_text("a")
    assert find_trusted(*dataset)[0]["a"] == CaseOutcome(
        "a", "trusted", "label corrected by a person"
    )


def test_a_label_from_before_the_first_run_is_a_persons(dataset):
    dataset[2].forget_record("a", "label")
    assert find_trusted(*dataset)[0]["a"].status == "trusted"


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
    assert "has changed" not in capsys.readouterr().out
    write_volume(dataset[1]["a"], np.arange(48.0).reshape(GRID.shape), GRID)
    found, faults = find_trusted(*dataset)
    assert (found["a"].status, faults) == ("trusted", {})
    assert "has changed since the last run; its label is kept" in capsys.readouterr().out


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
