"""Lists beside the preprocessed data, as the trainer reads them."""

import pytest

from clisc_nnunet.dataset_conversion.preprocessed_lists import copy_lists
from clisc_nnunet.dataset_conversion.small_plans import PREPROCESSED, RAW
from clisc_nnunet.dataset_layout import DatasetLayout
from clisc_nnunet.trainers.case_lists import find_case_lists
from clisc_nnunet.trainers.phantom_sampling import Phantoms


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A raw dataset that excludes `a`, and its preprocessed folder."""
    raw, preprocessed = (tmp_path / name / "Dataset501_CLISC" for name in (RAW, PREPROCESSED))
    for name in (RAW, PREPROCESSED):
        monkeypatch.setenv(name, str(tmp_path / name))
    preprocessed.mkdir(parents=True)
    dataset = DatasetLayout(raw)
    dataset.clisc.mkdir(parents=True)
    dataset.exclude_txt.write_text("a\ngone\n")
    dataset.cases_csv.write_text("case,status\ngone,empty\n")
    return dataset, DatasetLayout(preprocessed)


def test_the_trainer_reads_the_copies(folders):
    dataset, copies = folders
    copy_lists(dataset)
    lists = find_case_lists(None, copies.clisc, ["a", "b"], True)
    assert (lists.trusted, lists.excluded) == (set(), {"a"})


def test_phantoms_added_after_planning_are_known_without_the_raw_dataset(folders):
    dataset, copies = folders
    dataset.phantoms_txt.write_text("p\n")
    copy_lists(dataset)
    assert Phantoms.among(["a", "p"], {}, [copies.clisc]).names == {"p"}


def test_a_list_that_was_removed_is_empty_and_others_stay(folders):
    dataset, copies = folders
    dataset.trusted_txt.write_text("b")
    copy_lists(dataset)
    before = copies.trusted_txt.stat().st_mtime_ns
    dataset.exclude_txt.unlink()
    copy_lists(dataset)
    assert copies.exclude_txt.read_text() == ""
    assert copies.trusted_txt.stat().st_mtime_ns == before


def test_a_dataset_that_is_not_preprocessed_gets_no_copies(folders, monkeypatch):
    dataset, copies = folders
    copies.folder.rmdir()
    copy_lists(dataset)
    monkeypatch.delenv(PREPROCESSED)
    copy_lists(dataset)
    assert not copies.folder.exists()


def test_a_folder_that_cannot_be_written_is_a_warning(folders, capsys):
    dataset, copies = folders
    copies.clisc.touch()
    copy_lists(dataset)
    assert "warning: the lists were not copied: " in capsys.readouterr().err
