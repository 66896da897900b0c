"""Errors that the trainer reports in one line before training."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from helpers.clisc_training import DEFAULT, log_of, make_trainer, train
from helpers.tiny_nnunet import NAME, PLANS

from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.trainers.nnUNetTrainerCLISC import nnUNetTrainerCLISC

pytestmark = pytest.mark.slow


def test_absent_weights_of_sam_end_it_before_the_first_epoch(nnunet_root, capsys):
    trainer = make_trainer(nnunet_root, replace(DEFAULT, sam="sam_vit_b"))
    with pytest.raises(SystemExit) as ended:
        train(trainer)
    assert ended.value.code == 2
    assert "the weights of sam_vit_b" in capsys.readouterr().out
    assert trainer.current_epoch == 0


def test_the_file_of_sam_is_the_converters_or_requested(nnunet_root, sam_file, capsys):
    file = nnunet_root / "nnUNet_preprocessed" / NAME / "dataset.json"
    content = json.loads(file.read_text())
    content["clisc"]["sam"] = {"name": "mine.pth", "sha256": file_sha256(sam_file)}
    file.write_text(json.dumps(content))
    with pytest.raises(SystemExit):
        train(make_trainer(nnunet_root))
    assert "CLISC_SAM=FILE" in capsys.readouterr().out
    record = nnunet_root / "nnUNet_raw" / NAME / "clisc" / "run.json"
    record.parent.mkdir(exist_ok=True)
    record.write_text(json.dumps({"models": {"sam": {"name": str(sam_file)}}}))
    trainer = make_trainer(nnunet_root)
    trainer._prepare()
    assert f"CLISC: SAM {sam_file}" in log_of(trainer)


def test_a_configuration_of_the_cascade_is_refused(nnunet_root, capsys):
    folder = nnunet_root / "nnUNet_preprocessed" / NAME
    plans = json.loads((folder / f"{PLANS}.json").read_text()) | {"continue_training": False}
    content = json.loads((folder / "dataset.json").read_text())
    with pytest.raises(SystemExit) as ended:
        nnUNetTrainerCLISC(plans, "3d_cascade_fullres", "all", content, torch.device("cpu"))
    assert ended.value.code == 2
    assert "cascade" in capsys.readouterr().out


def test_labels_of_several_kinds_are_refused(nnunet_root, capsys):
    file = nnunet_root / "nnUNet_preprocessed" / NAME / "dataset.json"
    content = json.loads(file.read_text())
    content["labels"] = {"background": 0, "oedema": 1, "core": 2}
    file.write_text(json.dumps(content))
    with pytest.raises(SystemExit):
        make_trainer(nnunet_root)
    assert "one foreground label" in capsys.readouterr().out
