"""Scans that change, vanish or break while they are placed: only that case is skipped."""

import errno
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.cases import make_config

from clisc_nnunet.dataset_conversion import nnunet_dataset
from clisc_nnunet.dataset_conversion.image_placement import place_cases, remove_all_but
from clisc_nnunet.errors import StorageError
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.io.volume import Geometry, write_volume
from clisc_nnunet.pipeline.case_result import CaseOutcome, with_failures
from clisc_nnunet.pipeline.case_tracker import FAILURE
from clisc_nnunet.pipeline.config import CaseInput
from clisc_nnunet.pipeline.label_placement import RECORD
from clisc_nnunet.pipeline.pseudo_label_pipeline import PseudoLabelPipeline
from clisc_nnunet.pipeline.result_cache import ResultCache
from clisc_nnunet.processes import local_pool
from clisc_nnunet.settings import SliceSettings

GRID = Geometry((7, 6, 5), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def write(path, seed):
    array = np.zeros(GRID.shape, np.float32)
    array[1:-1, 1:-1, 1:-1] = np.random.default_rng(seed).uniform(50, 100, (3, 4, 5))
    write_volume(path, array, GRID)


@pytest.fixture
def run(tmp_path):
    """Two labelled cases with two channels after stage 11, and a function that places them."""
    pool = local_pool(1)
    cases = []
    for number, name in enumerate("ab"):
        scans = [tmp_path / "scans" / f"{name}_{kind}.nii.gz" for kind in ("t1", "flair")]
        for path in scans:
            write(path, number)
        cases.append(CaseInput(name, scans[1], tuple(scans)))
    folder = tmp_path / "Dataset501_CLISC"
    config = make_config(ResultCache(folder / "clisc" / "stages"), SliceSettings(brain="given"))
    outcomes = [CaseOutcome(name, "labelled", "drawn", label_ml=3.0) for name in "ab"]

    def begun(retry):
        pipeline = PseudoLabelPipeline(config, pool, pool, retry=retry)
        for case in cases:
            pipeline.admit(case)
        return pipeline

    def place(retry=False):
        lost = place_cases(pipelines[retry], ["a", "b"], folder, copy=True)
        return with_failures(outcomes, lost), pipelines[retry].tracker

    def placed():
        return sorted(path.name for path in folder.glob("imagesTr/*"))

    pipelines = {retry: begun(retry) for retry in (False, True)}
    return SimpleNamespace(place=place, placed=placed, cases=cases, folder=folder)


OF_A = ["a_0000.nii.gz", "a_0001.nii.gz"]
ALL = [*OF_A, "b_0000.nii.gz", "b_0001.nii.gz"]


def test_complete_cases_are_placed_and_their_outcomes_stay(run):
    outcomes, tracker = run.place()
    assert run.placed() == ALL
    assert [o.status for o in outcomes] == ["labelled", "labelled"]
    assert tracker.failures == {}


@pytest.mark.parametrize("channel", [0, 1])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: write(path, 9), "other content than when"),
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "other content"),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_a_spoilt_scan_skips_its_case(run, spoil, message, channel, before):
    if before:
        run.place()  # images of an earlier run exist
    path = run.cases[1].channels[channel]
    spoil(path)
    outcomes, tracker = run.place()
    assert run.placed() == OF_A
    assert [(o.status, o.label_ml) for o in outcomes] == [("labelled", 3.0), ("failed", 0.0)]
    assert message in outcomes[1].reason and path.name in outcomes[1].reason
    assert tracker.failures == {"b": outcomes[1].reason}
    assert tracker.cache.read_record("b", FAILURE)["stage"] == "images"


def test_a_scan_that_vanishes_in_the_middle_of_it_leaves_no_half_case(run, monkeypatch):
    gone = run.cases[1].channels[1]

    def copy(source, target):
        if source == gone:
            gone.unlink()
        return copy2(source, target)

    copy2 = shutil.copy2
    with monkeypatch.context() as patch:
        patch.setattr(nnunet_dataset.shutil, "copy2", copy)
        outcomes, _ = run.place()
    assert run.placed() == OF_A
    assert outcomes[1].status == "failed" and "No such file" in outcomes[1].reason
    write(gone, 1)
    outcomes, _ = run.place(retry=True)
    assert run.placed() == ALL and outcomes[1].status == "labelled"


def test_a_full_disk_is_not_the_scans_fault(run, monkeypatch):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(nnunet_dataset.shutil, "copy2", full)
    with pytest.raises(StorageError, match="No space left"):
        run.place()
    assert run.placed() == []


def test_a_scan_that_was_replaced_with_its_label_takes_the_place_of_the_old_image(run):
    run.place()
    path = run.cases[0].channels[0]
    write(path, 9)
    nnunet_dataset.place_case(run.cases[0].channels, path, "a", run.folder, copy=True)
    assert (run.folder / "imagesTr" / "a_0000.nii.gz").read_bytes() == path.read_bytes()


def test_what_is_no_part_of_the_dataset_any_more_is_taken_out(run, capsys):
    """Of earlier cases only `a` stays; files of the user and checked labels all stay."""
    run.place()
    labels = {name: run.folder / "labelsTr" / f"{name}.nii.gz" for name in "abcde"}
    cache = ResultCache(run.folder / "clisc" / "stages")
    for number, (name, label) in enumerate(labels.items()):
        write(label, number)
        if name != "d":
            drawn = "another" if name == "c" else file_sha256(label)
            cache.write_record(name, RECORD, {"sha256": [drawn]})
    write(run.folder / "imagesTr" / "d_0001.nii.gz", 3)
    (run.folder / "clisc" / "trusted.txt").write_text("e")
    remove_all_but(["a"], 1, run.folder, cache)
    assert run.placed() == ["a_0000.nii.gz", "d_0001.nii.gz"]
    assert [name for name in labels if labels[name].exists()] == ["a", "c", "d", "e"]
    assert "removed from imagesTr: b_0000.nii.gz" in capsys.readouterr().out
