"""Training with lists of trusted and excluded cases."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.clisc_training import (
    DEFAULT,
    clisc_folder,
    continued,
    facts,
    log_of,
    make_trainer,
    train,
)
from helpers.tiny_nnunet import CASES, NAME

from clisc_nnunet.trainers.relabelled_dataset import overlay_files

pytestmark = pytest.mark.slow


def test_excluded_cases_are_left_out_of_a_validation_alone(nnunet_root):
    trainer = make_trainer(nnunet_root)
    lists = nnunet_root / "nnUNet_raw" / NAME / "clisc"
    lists.mkdir()
    (lists / "exclude.txt").write_text(CASES[0])
    trainer.initialize()  # what `nnUNetv2_train --val` does first
    assert CASES[0] not in trainer.do_split()[1]


def test_trusted_cases_keep_their_labels_and_excluded_ones_are_never_seen(nnunet_root):
    lists = nnunet_root / "nnUNet_raw" / NAME / "clisc"
    lists.mkdir()
    (lists / "trusted.txt").write_text("case_1\n")
    (lists / "exclude.txt").write_text("case_2  # moved during the scan\n")
    trainer = train(make_trainer(nnunet_root, replace(DEFAULT, keep_ratio=0.0)))
    found = facts(trainer)["cases"]
    assert "case_2" not in found
    assert found["case_1"]["reason"] == "trusted"
    assert found["case_1"]["kept"]
    overlay, _ = overlay_files(clisc_folder(trainer) / "round_01", "case_1")
    assert not overlay.exists()
    assert "1 trusted and 1 excluded" in log_of(trainer)


def test_phantoms_are_learnt_from_and_neither_ranked_nor_validated_on(nnunet_root):
    lists = nnunet_root / "nnUNet_raw" / NAME / "clisc"
    lists.mkdir()
    (lists / "phantoms.txt").write_text(f"{CASES[2]}\n")
    settings = replace(DEFAULT, keep_ratio=0.0, phantom_share=0.5)
    trainer = train(make_trainer(nnunet_root, settings, fold=0))
    trainer.perform_actual_validation()
    ranked, kept = facts(trainer)["cases"], trainer.state["rounds"][0]["kept"]
    assert len(ranked) == 4 and CASES[2] not in ranked and len(kept) == 1
    predicted = [file.name for file in (Path(trainer.output_folder) / "validation").glob("*.gz")]
    assert len(predicted) == 1 and not predicted[0].startswith(CASES[2])
    text = log_of(trainer)
    assert "1 phantoms, 50% of the training cases in the batches; 4 scans" in text
    assert "1 phantoms, 50% of the training cases in the batches; 1 scans" in text


def test_cases_excluded_after_a_round_are_not_seen_when_training_continues(nnunet_root):
    trainer = train(make_trainer(nnunet_root))
    latest = Path(trainer.output_folder) / "checkpoint_latest.pth"
    shutil.copy(Path(trainer.output_folder) / "checkpoint_final.pth", latest)
    kept = list(trainer.get_tr_and_val_datasets()[0].identifiers)
    lists = nnunet_root / "nnUNet_raw" / NAME / "clisc"
    lists.mkdir()
    (lists / "exclude.txt").write_text(kept[0])
    trainer = continued(nnunet_root)
    trainer.on_train_start()
    learnt, validated = trainer.get_tr_and_val_datasets()
    assert learnt.identifiers == validated.identifiers == kept[1:]
    (lists / "exclude.txt").write_text("\n".join(kept))
    with pytest.raises(SystemExit):
        continued(nnunet_root).on_train_start()


def test_a_case_trusted_after_a_round_counts_when_training_continues(nnunet_root):
    settings = replace(DEFAULT, relabel="network", rounds=(0.25, 0.75), keep_ratio=0.5)
    trainer = make_trainer(nnunet_root, settings)
    trainer.on_train_start()
    trainer.current_epoch = 1
    trainer._run_round(1)
    (last,) = trainer.state["rounds"]
    rejected = next(case for case in CASES if case not in last["kept"])
    relabelled = last["relabelled"][0]
    lists = nnunet_root / "nnUNet_raw" / NAME / "clisc"
    lists.mkdir()
    (lists / "trusted.txt").write_text(f"{rejected}\n{relabelled}\n")
    trainer = continued(nnunet_root, settings)
    trainer.on_train_start()
    learnt, validated = trainer.get_tr_and_val_datasets()
    assert learnt.identifiers == [*last["kept"], rejected]
    plain = trainer.dataset_class(trainer.preprocessed_dataset_folder, CASES)
    for data in (learnt, validated):
        label = data.load_case(relabelled)[1]
        np.testing.assert_array_equal(label[:], plain.load_case(relabelled)[1][:])
    trainer._run_round(2)
    for case in (rejected, relabelled):
        assert facts(trainer, 2)["cases"][case]["reason"] == "trusted"


def test_lists_travel_with_the_preprocessed_data(nnunet_root, monkeypatch, capsys):
    monkeypatch.delenv("nnUNet_raw")
    with pytest.raises(SystemExit):
        make_trainer(nnunet_root).initialize()
    assert "nnUNet_raw: found a variable that is not set" in capsys.readouterr().out
    copies = nnunet_root / "nnUNet_preprocessed" / NAME / "clisc"
    copies.mkdir()
    (copies / "exclude.txt").write_text(CASES[0])
    trainer = make_trainer(nnunet_root)
    trainer.initialize()
    assert CASES[0] not in trainer.do_split()[0]
