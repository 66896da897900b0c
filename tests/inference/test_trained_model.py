"""Trained models by dataset, and one line about each that cannot be used."""

import json
from pathlib import Path

import pytest

from clisc_nnunet.errors import UserError
from clisc_nnunet.inference.trained_model import (
    NetworkChoice,
    check_model,
    chosen_folds,
    find_model,
)

ONE = "nnUNetTrainerCLISC__nnUNetPlans__3d_fullres"
TWO = "nnUNetTrainerCLISC_20epochs__nnUNetPlansSmall__3d_fullres"


def model(folder, folds=("all",), files=("checkpoint_final.pth",)):
    for fold in folds:
        (folder / f"fold_{fold}").mkdir(parents=True)
        for name in files:
            (folder / f"fold_{fold}" / name).touch()
    (folder / "plans.json").write_text("{}")
    content = {"channel_names": {"0": "FLAIR"}, "labels": {"background": 0, "tumour": 1}}
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def results(tmp_path, monkeypatch):
    folder = tmp_path / "nnUNet_results"
    model(folder / "Dataset502_CLISC" / ONE)
    model(folder / "Dataset003_Two" / ONE)
    model(folder / "Dataset003_Two" / TWO)
    (folder / "Dataset004_Untrained").mkdir()
    monkeypatch.setenv("nnUNet_results", str(folder))
    return folder


def test_a_dataset_is_named_by_number_name_or_path(results, tmp_path):
    expected = results / "Dataset502_CLISC" / ONE
    raw = tmp_path / "nnUNet_raw" / "Dataset502_CLISC"
    raw.mkdir(parents=True)
    for name in ("502", "Dataset502_CLISC", str(results / "Dataset502_CLISC"), str(raw)):
        assert find_model(name) == expected
    assert find_model("3", trainer="nnUNetTrainerCLISC").name == ONE
    assert find_model("003", plans="nnUNetPlansSmall").name == TWO


def test_a_number_in_the_working_directory_is_still_a_number(results, tmp_path, monkeypatch):
    (tmp_path / "502").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_model("502").parent.name == "Dataset502_CLISC"


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (("50",), r"-d 50: found no such dataset in .*; expected Dataset003_Two, Dataset004"),
        (("Dataset502_X",), "-d Dataset502_X: found no such dataset in"),
        (("nowhere/Dataset502_X",), "nowhere/Dataset502_X: found no such folder"),
        (("4",), "Dataset004_Untrained: found no trained model"),
        (("3",), r"found 2 trained models \(nnUNetTrainerCLISC_20epochs.*; choose one with -tr"),
        (("502", None, None, "2d"), r"found no model \*__\*__2d; expected one of nnUNetTrainerC"),
    ],
)
def test_a_model_that_is_not_there_is_one_line(results, call, line):
    with pytest.raises(UserError, match=line):
        find_model(*call)


def test_two_datasets_of_a_number(results):
    (results / "Dataset502_Other").mkdir()
    with pytest.raises(UserError, match=r"2 datasets 502 \(Dataset502_CLISC, Dataset502_Other\)"):
        find_model("502")


def test_without_the_variable_it_is_named(monkeypatch):
    monkeypatch.delenv("nnUNet_results", raising=False)
    with pytest.raises(UserError, match="nnUNet_results: found a variable that is not set"):
        find_model("502")


def test_folds_are_all_that_were_trained(tmp_path):
    folder = model(tmp_path / "model", folds=("0", "3"))
    assert chosen_folds(folder) == (0, 3)
    assert chosen_folds(folder, ["3"]) == (3,)
    (folder / "fold_all").mkdir()
    (folder / "fold_all" / "checkpoint_final.pth").touch()
    assert chosen_folds(folder) == ("all",)


def test_missing_folds_and_checkpoints_are_one_line(tmp_path):
    folder = model(tmp_path / "model", folds=("0",), files=("checkpoint_best.pth",))
    with pytest.raises(UserError, match="found no fold 7; expected one of 0"):
        chosen_folds(folder, ["7"])
    with pytest.raises(UserError, match=r"expected a checkpoint \(here: checkpoint_best.pth\)"):
        chosen_folds(folder)
    assert chosen_folds(folder, checkpoint="checkpoint_best.pth") == (0,)


def test_models_of_other_tasks_are_refused(tmp_path):
    folder = model(tmp_path / "model")
    check_model(folder)
    path = folder / "dataset.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"channel_names": {"0": "FLAIR", "1": "T1"}}))
    with pytest.raises(UserError, match="a network of 2 channels and 2 labels"):
        check_model(folder)
    path.unlink()
    with pytest.raises(UserError, match=r"dataset.json: found FileNotFoundError"):
        check_model(folder)
    with pytest.raises(UserError, match="found no such folder"):
        check_model(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("choice", "line"),
    [
        (NetworkChoice(model=Path("a"), dataset="502"), "-d and -m: found both"),
        (NetworkChoice(trainer="nnUNetTrainerCLISC"), "-tr, -p or -c: found no dataset"),
        (NetworkChoice(folds=("0",)), "-f, -chk or --strip: found the bundled network"),
    ],
)
def test_options_that_contradict_each_other(choice, line):
    with pytest.raises(UserError, match=line):
        choice.folder()


def test_without_options_it_is_the_bundled_network():
    assert NetworkChoice().folder() is None
