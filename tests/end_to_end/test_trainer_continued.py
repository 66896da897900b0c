"""Training resumed with `--c` uses its original settings, and needs SAM only for further rounds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.clisc_training import DEFAULT, continued, log_of, make_trainer
from helpers.tiny_nnunet import CASES

pytestmark = pytest.mark.slow


def stopped(root, settings=DEFAULT, rounds=()):
    """A training that was killed after its first epoch, with these finished rounds."""
    trainer = make_trainer(root, settings)
    trainer.initialize()
    trainer.state["rounds"] = [
        {"name": name, "epoch": 0, "kept": CASES[:4], "relabelled": []} for name in rounds
    ]
    trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_latest.pth"))
    return trainer


def test_it_resumes_with_the_settings_it_was_started_with(nnunet_root, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("CLISC_ROUNDS", "0.25,0.5")
        patch.setenv("CLISC_KEEP_RATIO", "0.5")
        stopped(nnunet_root)
    resumed = continued(nnunet_root)
    assert resumed.rounds == replace(DEFAULT, rounds=(0.25, 0.5), keep_ratio=0.5)
    (line,) = [
        line for line in log_of(resumed).splitlines() if "settings of the checkpoint" in line
    ]
    assert "rounds [0.25, 0.5] (now requested: [0.5])" in line
    assert "keep_ratio 0.5 (now requested: 0.8)" in line
    resumed._prepare()
    assert "CLISC: rounds after epochs [1, 2] of 4" in log_of(resumed)
    # The checkpoint records them for the next time.
    resumed.save_checkpoint(str(Path(resumed.output_folder) / "checkpoint_latest.pth"))
    assert continued(nnunet_root).rounds == resumed.rounds


def test_where_nothing_has_changed_nothing_is_said(nnunet_root):
    stopped(nnunet_root)
    assert "settings of the checkpoint" not in log_of(continued(nnunet_root))


def test_settings_that_cannot_be_used_are_reported_in_one_line(nnunet_root, capsys, monkeypatch):
    trainer = stopped(nnunet_root)
    name = type(trainer).__mro__[1].__module__
    monkeypatch.setattr(f"{name}.read_entry", lambda *_: {"rounds": [], "settings": {"soft": 1}})
    with pytest.raises(SystemExit) as ended:
        continued(nnunet_root)
    assert ended.value.code == 2
    assert "checkpoint: clisc: settings: found unknown key 'soft'" in capsys.readouterr().out


def test_sam_is_not_required_where_no_round_is_left(nnunet_root, capsys):
    absent = replace(DEFAULT, sam="sam_vit_b")
    stopped(nnunet_root, absent, rounds=["round_01"])
    continued(nnunet_root, absent)._prepare()
    stopped(nnunet_root, replace(absent, rounds=(0.25, 0.5)), rounds=["round_01"])
    resumed = continued(nnunet_root, absent)
    capsys.readouterr()
    with pytest.raises(SystemExit):
        resumed.on_train_start()
    assert "the weights of sam_vit_b" in capsys.readouterr().out
