"""Decisions of a round, and when the network is reset."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.clisc_training import DEFAULT, continued, facts, log_of, make_trainer, train
from helpers.tiny_nnunet import CASES, NAME

from clisc_nnunet.trainers import filter_round
from clisc_nnunet.trainers.nnUNetTrainerCLISC import nnUNetTrainerCLISC
from clisc_nnunet.trainers.preprocessed_case import PreprocessedCase
from clisc_nnunet.trainers.round_settings import PAPER
from clisc_nnunet.trainers.variants import nnUNetTrainerCLISC_paper

pytestmark = pytest.mark.slow


def predict(monkeypatch, draw):
    """Replace all predictions by empty ones with the voxels that `draw` adds."""

    def predict_all(due):
        for case in due.cases.names:
            mask = np.zeros(due.cases.loader.label(case).shape, bool)
            draw(mask)
            filter_round._write_probability(due, case, mask)

    monkeypatch.setattr(filter_round, "_predict_all", predict_all)


def predict_nothing(monkeypatch):
    predict(monkeypatch, lambda mask: None)


def test_rejected_cases_may_come_back_or_not(nnunet_root):
    settings = replace(DEFAULT, rounds=(0.25, 0.5), keep_ratio=0.5)
    second = facts(train(make_trainer(nnunet_root, settings)), 2)
    assert sum(known["kept"] for known in second["cases"].values()) == 3

    shutil.rmtree(nnunet_root / "nnUNet_results")
    trainer = train(make_trainer(nnunet_root, replace(settings, readmit=False)))
    first, second = facts(trainer), facts(trainer, 2)
    rejected = {case for case, known in first["cases"].items() if not known["kept"]}
    assert all(second["cases"][case]["reason"] == "left out before" for case in rejected)
    assert sum(known["kept"] for known in second["cases"].values()) == 1


def test_cases_without_support_are_rejected_however_many_they_are(nnunet_root):
    trainer = train(make_trainer(nnunet_root, replace(DEFAULT, min_similarity=1.0)))
    reasons = {known["reason"] for known in facts(trainer)["cases"].values()}
    assert reasons == {"below the least similarity"}
    assert sorted(trainer.get_tr_and_val_datasets()[0].identifiers) == CASES
    assert "no case is left" in log_of(trainer)


def test_if_nothing_is_found_anywhere_training_continues_unchanged(nnunet_root, monkeypatch):
    predict_nothing(monkeypatch)
    trainer = train(make_trainer(nnunet_root))
    reasons = {known["reason"] for known in facts(trainer)["cases"].values()}
    assert reasons == {"empty prediction"}
    learnt, _ = trainer.get_tr_and_val_datasets()
    assert sorted(learnt.identifiers) == CASES
    assert learnt.overlay_folder is None
    assert "no case is left" in log_of(trainer)


def test_a_round_without_a_case_does_not_start_the_network_again(nnunet_root, monkeypatch):
    predict_nothing(monkeypatch)
    started = []
    monkeypatch.setattr(nnUNetTrainerCLISC, "_restart", lambda self: started.append(1))
    train(make_trainer(nnunet_root, replace(DEFAULT, restart=True)))
    assert started == []


def test_the_paper_s_preset_starts_again_from_random_weights(nnunet_root):
    trainer = train(make_trainer(nnunet_root, PAPER, base=nnUNetTrainerCLISC_paper))
    assert "random weights" in log_of(trainer)
    rates = trainer.logger.get_value("lrs", step=None)
    assert rates[2] == rates[0] == trainer.initial_lr
    assert rates[3] < rates[2]

    latest = Path(trainer.output_folder) / "checkpoint_latest.pth"
    shutil.copy(Path(trainer.output_folder) / "checkpoint_final.pth", latest)
    resumed = continued(nnunet_root, PAPER, base=nnUNetTrainerCLISC_paper)
    resumed.lr_scheduler.step(3)
    assert resumed.optimizer.param_groups[0]["lr"] == pytest.approx(rates[3])


@pytest.mark.parametrize("measure", ["sam", "support"])
def test_a_speck_that_no_slice_shows_is_an_empty_prediction(nnunet_root, monkeypatch, measure):
    predict(monkeypatch, lambda mask: mask.flat.__setitem__(mask.size // 2, True))
    nothing = lambda self, mask: np.zeros(self.stack.pixels.shape, bool)  # noqa: E731
    monkeypatch.setattr(PreprocessedCase, "on_slices", nothing)
    found = facts(train(make_trainer(nnunet_root, replace(DEFAULT, measure=measure))))["cases"]
    assert {known["reason"] for known in found.values()} == {"empty prediction"}
    assert {known["predicted_iou"] for known in found.values()} == {None}


def test_a_round_that_keeps_no_case_leaves_those_of_the_previous_one(nnunet_root):
    trainer = train(make_trainer(nnunet_root))
    before, _ = trainer.get_tr_and_val_datasets()
    trainer.state["rounds"].append({**trainer.state["rounds"][-1], "name": "round_02", "kept": []})
    after, _ = trainer.get_tr_and_val_datasets()
    assert after.identifiers == before.identifiers and len(after.identifiers) < len(CASES)
    assert after.overlay_folder == before.overlay_folder


def test_one_case_is_enough(nnunet_root):
    (nnunet_root / "nnUNet_raw" / NAME / "clisc").mkdir()
    (nnunet_root / "nnUNet_raw" / NAME / "clisc" / "exclude.txt").write_text("\n".join(CASES[1:]))
    trainer = train(make_trainer(nnunet_root))
    assert list(facts(trainer)["cases"]) == CASES[:1]
    assert trainer.get_tr_and_val_datasets()[0].identifiers == CASES[:1]
