"""nnUNetTrainerCLISC: effects of a round, and interruptions."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import blosc2
import numpy as np
import pytest
import torch
from helpers.cases import extract_into
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

from clisc_nnunet.pipeline.result_cache import Fingerprint, ResultCache
from clisc_nnunet.settings import SliceSettings
from clisc_nnunet.trainers import filter_round, judges
from clisc_nnunet.trainers.nnUNetTrainerCLISC import nnUNetTrainerCLISC
from clisc_nnunet.trainers.relabelled_dataset import percent_file
from clisc_nnunet.trainers.round_settings import RoundSettings

pytestmark = pytest.mark.slow


def digest(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    text = "".join(f"{p}{hashlib.md5(p.read_bytes()).hexdigest()}" for p in files)
    return hashlib.md5(text.encode()).hexdigest()


def test_a_round_decides_what_is_trained_on(nnunet_root):
    before = digest(nnunet_root / "nnUNet_preprocessed")
    trainer = train(make_trainer(nnunet_root))
    found = facts(trainer)
    kept = sorted(case for case, known in found["cases"].items() if known["kept"])
    assert sorted(found["cases"]) == CASES
    assert found["epoch"] == 2
    assert len(kept) == 4  # int(0.8 * 6)
    similarity = {case: known["similarity"] for case, known in found["cases"].items()}
    worst = min(similarity[case] for case in kept)
    assert all(similarity[case] <= worst for case in CASES if case not in kept)

    learnt, validated = trainer.get_tr_and_val_datasets()
    assert sorted(learnt.identifiers) == sorted(validated.identifiers) == kept
    drawn = {str(key) for _ in range(20) for key in next(trainer.dataloader_train)["keys"]}
    assert drawn <= set(kept)
    assert digest(nnunet_root / "nnUNet_preprocessed") == before


def test_sam_sees_the_slices_of_the_labels_where_the_dataset_has_them(nnunet_root):
    raw = nnunet_root / "nnUNet_raw" / NAME
    settings = SliceSettings(plane_mm=12.0)
    for case in CASES[:4]:
        scan = raw / "imagesTr" / f"{case}_0000.nii.gz"
        cache = ResultCache(raw / "clisc" / "stages")
        extract_into(cache, case, scan, settings, Fingerprint("scan", settings))
    trainer = train(make_trainer(nnunet_root))
    known = {case: found["kept_slices"] for case, found in facts(trainer)["cases"].items()}
    assert known == {case: case in CASES[:4] for case in CASES}
    assert log_of(trainer).count("2 of 6 cases have no matching slices of stage 1") == 1


@pytest.mark.parametrize("relabel", ["network", "vote"])
def test_kept_cases_learn_from_the_new_label(nnunet_root, relabel):
    trainer = train(make_trainer(nnunet_root, replace(DEFAULT, relabel=relabel)))
    learnt, _ = trainer.get_tr_and_val_datasets()
    for case, known in facts(trainer)["cases"].items():
        if known["kept"]:
            label = np.asarray(learnt.load_case(case)[1][:])
            voxel_ml = 6.0**3 / 1000
            assert (label == 1).sum() * voxel_ml == pytest.approx(known["volume_after_ml"])
            if relabel == "network":
                assert known["volume_after_ml"] == known["volume_predicted_ml"]


class BrightIsTumour:
    """In place of the phantom network: probability by intensity."""

    def probability(self, array, spacing):
        head = array > 0
        scaled = (array - np.median(array[head])) / (array[head].std() + 1e-6)
        return np.where(head, 1 / (1 + np.exp(-2 * (scaled - 1.5))), 0).astype(np.float32)


def test_by_default_the_phantom_network_judges_before_the_first_epoch(nnunet_root, monkeypatch):
    monkeypatch.setattr(judges.VolumePredictor, "bundled", lambda device: BrightIsTumour())
    settings = RoundSettings(min_similarity=0.0)
    trainer = train(make_trainer(nnunet_root, settings, epochs=2))
    found = facts(trainer)
    assert found["epoch"] == 0
    kept = [case for case, known in found["cases"].items() if known["kept"]]
    assert len(kept) == len(CASES)
    learnt, validated = trainer.get_tr_and_val_datasets()
    for case in kept:
        percent = percent_file(clisc_folder(trainer) / "round_01", case)
        levels = np.unique(blosc2.open(str(percent))[:])
        assert levels.min() == -1 and levels.max() > 60
        assert ((levels > 10) & (levels < 90)).sum() > 5
        drawn = {int((np.asarray(learnt.load_case(case)[1][:]) == 1).sum()) for _ in range(30)}
        assert len(drawn) > 1
        same = {int((np.asarray(validated.load_case(case)[1][:]) == 1).sum()) for _ in range(5)}
        assert len(same) == 1
        voxel_ml = 6.0**3 / 1000
        assert same.pop() * voxel_ml == pytest.approx(found["cases"][case]["volume_after_ml"])
    # The state of nnU-Net's checkpoint before the round is that of epoch 0.
    folder = Path(trainer.output_folder)
    before = torch.load(folder / "checkpoint_before_round_01.pth", weights_only=False)
    assert before["current_epoch"] == 0


@pytest.mark.parametrize("relabel", ["soft", "network"])
def test_a_label_of_a_round_that_is_gone_is_missed(nnunet_root, capsys, relabel):
    settings = replace(DEFAULT, relabel=relabel)
    trainer = train(make_trainer(nnunet_root, settings))
    latest = Path(trainer.output_folder) / "checkpoint_latest.pth"
    shutil.copy(Path(trainer.output_folder) / "checkpoint_final.pth", latest)
    next(clisc_folder(trainer).glob("round_01/*.b2nd")).unlink()
    with pytest.raises(SystemExit) as ended:
        train(continued(nnunet_root, settings, epochs=6))
    assert ended.value.code == 2
    assert "restore the folder" in capsys.readouterr().out


def test_labels_may_stay(nnunet_root):
    trainer = train(make_trainer(nnunet_root, DEFAULT))
    assert not list(clisc_folder(trainer).glob("round_01/*.b2nd"))
    assert trainer.get_tr_and_val_datasets()[0].identifiers


def test_the_network_before_the_round_is_kept(nnunet_root):
    trainer = train(make_trainer(nnunet_root))
    folder = Path(trainer.output_folder)
    before, after = (
        torch.load(folder / f"checkpoint_{name}.pth", weights_only=False)
        for name in ("before_round_01", "final")
    )
    assert before["current_epoch"] == 2
    assert before["clisc"]["rounds"] == []
    assert [held["name"] for held in after["clisc"]["rounds"]] == ["round_01"]


def test_pictures_and_the_log_describe_the_round(nnunet_root):
    trainer = train(make_trainer(nnunet_root))
    assert (clisc_folder(trainer) / "round_01.png").stat().st_size > 10_000
    log = log_of(trainer)
    assert "kept 4 of 6 cases" in log
    assert '"keep_ratio": 0.8' in log
    scores = [line for line in log.splitlines() if "Pseudo dice" in line or "New best" in line]
    assert scores
    assert all("against pseudo-labels" in line for line in scores)


def test_training_needs_no_image_or_label_of_the_raw_dataset(nnunet_root):
    shutil.rmtree(nnunet_root / "nnUNet_raw")
    (nnunet_root / "nnUNet_preprocessed" / NAME / "clisc").mkdir()
    shutil.rmtree(nnunet_root / "nnUNet_preprocessed" / NAME / "gt_segmentations")
    trainer = train(make_trainer(nnunet_root))
    assert facts(trainer)["round"] == 1


@pytest.mark.parametrize(
    "moment", ["_predict_all", "_case_agreement", "_write_labels", "draw_round", "write_text"]
)
def test_killed_in_a_round_it_resumes_as_if_uninterrupted(nnunet_root, moment, monkeypatch):
    whole = train(make_trainer(nnunet_root))
    expected = facts(whole)["cases"]
    shutil.rmtree(nnunet_root / "nnUNet_results")

    with monkeypatch.context() as patch:

        def killed(*_args, **_kwargs):
            raise KeyboardInterrupt

        patch.setattr(filter_round, moment, killed)
        with pytest.raises(KeyboardInterrupt):
            train(make_trainer(nnunet_root))
    resumed = continued(nnunet_root)
    assert resumed.current_epoch == 2
    train(resumed)
    assert facts(resumed)["cases"] == expected
    assert not list(clisc_folder(resumed).glob("*.part"))


def test_a_finished_round_is_never_repeated(nnunet_root, monkeypatch):
    class Killed(nnUNetTrainerCLISC):
        def on_epoch_start(self):
            super().on_epoch_start()
            if self.current_epoch == 4:
                raise KeyboardInterrupt

    Killed.__name__ = "nnUNetTrainerCLISC"
    trainer = make_trainer(nnunet_root, base=Killed, epochs=6)
    trainer.save_every = 1
    with pytest.raises(KeyboardInterrupt):
        train(trainer)
    before = digest(clisc_folder(trainer))
    resumed = continued(nnunet_root, epochs=6)
    assert resumed.current_epoch == 4
    monkeypatch.setattr(filter_round, "_predict_all", lambda due: pytest.fail("repeated"))
    train(resumed)
    assert digest(clisc_folder(resumed)) == before


def test_killed_between_round_and_checkpoint_the_round_stands(nnunet_root, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(
            nnUNetTrainerCLISC, "_rebuild_dataloaders", lambda self: (_ for _ in ()).throw(OSError)
        )
        with pytest.raises(OSError):
            train(make_trainer(nnunet_root))
    resumed = continued(nnunet_root)
    before = digest(clisc_folder(resumed))
    monkeypatch.setattr(filter_round, "_predict_all", lambda due: pytest.fail("repeated"))
    train(resumed)
    assert digest(clisc_folder(resumed)) == before


def test_rounds_of_an_earlier_training_go_aside(nnunet_root):
    earlier = facts(train(make_trainer(nnunet_root)))
    again = train(make_trainer(nnunet_root), seed=1)
    assert facts(again)["run"] != earlier["run"]
    (aside,) = clisc_folder(again).glob("earlier_*.json")
    assert json.loads(aside.read_text()) == earlier


def test_validation_cases_of_a_fold_are_left_alone(nnunet_root):
    trainer = train(make_trainer(nnunet_root, fold=0))
    learnt, validated = trainer.get_tr_and_val_datasets()
    train_cases, validation_cases = trainer.do_split()
    assert set(facts(trainer)["cases"]) == set(train_cases)
    assert validated.identifiers == sorted(validation_cases)
    assert validated.overlay_folder is None
    assert not set(learnt.identifiers) & set(validation_cases)


@pytest.mark.parametrize("configuration", ["2d", "3d_lowres"])
def test_other_configurations_have_rounds_too(nnunet_root, configuration):
    assert facts(train(make_trainer(nnunet_root, configuration=configuration)))["round"] == 1
