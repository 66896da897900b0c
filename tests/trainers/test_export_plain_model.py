import errno
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_nnunet import CONFIGURATION, dataset_json, head, plans
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from clisc_nnunet.errors import UserError
from clisc_nnunet.trainers.export_plain_model import export_plain_model, main, model_folder


@pytest.fixture
def model(tmp_path):
    """A model folder as a training leaves it, with random weights."""
    folder = (
        tmp_path
        / "results"
        / "Dataset007_Heads"
        / f"nnUNetTrainerCLISC__nnUNetPlans__{CONFIGURATION}"
    )
    fold = folder / "fold_all"
    (fold / "clisc").mkdir(parents=True)
    (fold / "clisc" / "round_01.json").write_text('{"decision": "kept 4 of 6 cases"}')
    (fold / "progress.png").write_bytes(b"png")
    (folder / "plans.json").write_text(json.dumps(plans()))
    (folder / "dataset.json").write_text(json.dumps(dataset_json()))
    (folder / "dataset_fingerprint.json").write_text("{}")
    network = plans()["configurations"][CONFIGURATION]["architecture"]
    torch.manual_seed(0)
    made = get_network_from_plans(
        network["network_class_name"],
        network["arch_kwargs"],
        network["_kw_requires_import"],
        1,
        2,
        deep_supervision=False,
    )
    checkpoint = {
        "network_weights": made.state_dict(),
        "trainer_name": "nnUNetTrainerCLISC",
        "init_args": {"configuration": CONFIGURATION},
        "inference_allowed_mirroring_axes": (0, 1, 2),
        "current_epoch": 4,
        "clisc": {"run": "r", "rounds": [{"name": "round_01", "epoch": 2}]},
    }
    torch.save(checkpoint, fold / "checkpoint_final.pth")
    return folder


def logits(folder):
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), ("all",))
    image = torch.from_numpy(head(0)[0][None])
    return predictor.predict_logits_from_preprocessed_data(image).numpy()


def test_stock_nnunet_predicts_the_same_bit_for_bit(model, tmp_path):
    plain = export_plain_model(model, tmp_path / "out")
    assert plain.name == f"nnUNetTrainer__nnUNetPlans__{CONFIGURATION}"
    assert np.array_equal(logits(model), logits(plain))


def test_nothing_of_the_plugin_is_left_but_the_provenance(model, tmp_path):
    plain = export_plain_model(model, tmp_path / "out")
    checkpoint = torch.load(plain / "fold_all" / "checkpoint_final.pth", weights_only=False)
    assert checkpoint["trainer_name"] == "nnUNetTrainer"
    assert "clisc" not in checkpoint
    provenance = json.loads((plain / "clisc" / "provenance.json").read_text())
    assert provenance["trainer"] == "nnUNetTrainerCLISC"
    said = provenance["folds"]["fold_all"]["checkpoint_final.pth"]
    assert said["rounds"] == [{"name": "round_01", "epoch": 2}]
    assert re.fullmatch("[0-9a-f]{64}", said["sha256"])
    assert "kept 4 of 6" in (plain / "clisc" / "fold_all_round_01.json").read_text()
    assert str(tmp_path) not in (plain / "clisc" / "provenance.json").read_text()
    assert (plain / "fold_all" / "progress.png").read_bytes() == b"png"


def test_the_source_stays_as_it_is_and_nothing_is_overwritten_unasked(model, tmp_path):
    before = {p: p.read_bytes() for p in model.rglob("*") if p.is_file()}
    export_plain_model(model, tmp_path / "out")
    with pytest.raises(UserError, match="--overwrite"):
        export_plain_model(model, tmp_path / "out")
    export_plain_model(model, tmp_path / "out", overwrite=True)
    assert {p: p.read_bytes() for p in model.rglob("*") if p.is_file()} == before
    assert [p.name for p in (tmp_path / "out").iterdir()] == [
        f"nnUNetTrainer__nnUNetPlans__{CONFIGURATION}"
    ]


def test_nnunet_s_grammar_names_the_model(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    assert model_folder("7", CONFIGURATION, "nnUNetTrainerCLISC", "nnUNetPlans") == model
    assert main(["-d", "7", "-c", CONFIGURATION, "-o", str(tmp_path / "out")]) == 0
    plain = tmp_path / "out" / f"nnUNetTrainer__nnUNetPlans__{CONFIGURATION}"
    command = f"nnUNetv2_predict_from_modelfolder -m {plain} -f all -i ... -o ...\n"
    assert command in capsys.readouterr().out


def test_the_command_names_folds_and_checkpoint(model, tmp_path, capsys):
    trained = (model / "fold_all").rename(model / "fold_0")
    (trained / "checkpoint_final.pth").rename(trained / "checkpoint_best.pth")
    shutil.copytree(trained, model / "fold_3")
    call = ["-i", str(model), "-o", str(tmp_path / "out")]
    assert main([*call, "-chk", "checkpoint_best.pth"]) == 0
    assert " -f 0 3 -chk checkpoint_best.pth -i ..." in capsys.readouterr().out


def test_a_model_may_be_named_from_within(model, tmp_path, monkeypatch):
    monkeypatch.chdir(model)
    assert main(["-i", ".", "-o", str(tmp_path / "out")]) == 0


def test_a_broken_checkpoint_leaves_nothing_behind(model, tmp_path, capsys):
    (model / "fold_all" / "checkpoint_final.pth").write_bytes(b"half a file")
    assert main(["-i", str(model), "-o", str(tmp_path / "new" / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_full_disk_leaves_nothing_behind(model, tmp_path, monkeypatch, capsys):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    (tmp_path / "out").mkdir()
    assert main(["-i", str(model), "-o", str(tmp_path / "out")]) == 5
    assert "No space left" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("where", ["thesis.txt", "thesis.txt/out"])
def test_a_file_in_the_way_is_reported_and_kept(model, tmp_path, capsys, where):
    (tmp_path / "thesis.txt").write_text("mine")
    assert main(["-i", str(model), "-o", str(tmp_path / where)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-o", "out"], "neither -i nor -d and -c"),
        (["-i", "nowhere", "-o", "out"], "no CLISC model"),
        (["-d", "/abs/Dataset007_Heads", "-c", "2d", "-o", "out"], "with -i"),
        (["-d", "8", "-c", "2d", "-o", "out"], "no dataset"),
        (["-d", "7", "-c", CONFIGURATION, "-o", "out", "-chk", "checkpoint_x.pth"], "no such file"),
    ],
)
def test_mistakes_get_one_line(model, tmp_path, monkeypatch, capsys, argv, message):
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("out").exists()
