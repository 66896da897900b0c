"""nnUNetTrainerCLISC as nnU-Net drives it, on a few small heads."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.training.logging.nnunet_logger import MetaLogger
from tiny_nnunet import CASES, CONFIGURATION, NAME, PLANS, make_dataset

from clisc_nnunet.digest import file_sha256
from clisc_nnunet.scanwork import cut_scan
from clisc_nnunet.settings import SliceSettings
from clisc_nnunet.store import Recipe, Store
from clisc_nnunet.trainers import filter_round
from clisc_nnunet.trainers.nnUNetTrainerCLISC import nnUNetTrainerCLISC
from clisc_nnunet.trainers.overlay_dataset import overlay_files
from clisc_nnunet.trainers.preprocessed_case import PreprocessedCase
from clisc_nnunet.trainers.round_settings import PAPER, RoundSettings
from clisc_nnunet.trainers.variants import nnUNetTrainerCLISC_paper

# These networks learn next to nothing in two epochs: nothing they agree to is called too little.
DEFAULT = RoundSettings(rounds=(0.5,), min_similarity=0.0, restart=False)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("nnunet")
    make_dataset(root)
    return root


@pytest.fixture
def root(prepared, tmp_path, monkeypatch):
    """nnU-Net's folders, with nothing trained yet."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed"):
        shutil.copytree(prepared / name, tmp_path / name)
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setenv("nnUNet_def_n_proc", "1")
    # A second for each epoch, which lasts a tenth of one here.
    monkeypatch.setattr(MetaLogger, "plot_progress_png", lambda self, folder: None)
    return tmp_path


def make_trainer(root, settings=DEFAULT, fold="all", base=nnUNetTrainerCLISC, epochs=4):
    folder = root / "nnUNet_preprocessed" / NAME
    plans = json.loads((folder / f"{PLANS}.json").read_text())
    kind = type(base.__name__, (base,), {"clisc_settings": settings})
    content = json.loads((folder / "dataset.json").read_text())
    trainer = kind(
        plans | {"continue_training": False}, CONFIGURATION, fold, content, torch.device("cpu")
    )
    trainer.num_epochs = epochs
    trainer.num_iterations_per_epoch = 4
    trainer.num_val_iterations_per_epoch = 1
    return trainer


def train(trainer, seed=0):
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the generator that batchgenerators draws from
    torch.manual_seed(seed)
    trainer.run_training()
    return trainer


def continued(root, settings=DEFAULT, **how):
    """What `nnUNetv2_train --c` makes."""
    trainer = make_trainer(root, settings, **how)
    trainer.load_checkpoint(str(Path(trainer.output_folder) / "checkpoint_latest.pth"))
    return trainer


def facts(trainer, number=1):
    return json.loads((clisc_folder(trainer) / f"round_{number:02d}.json").read_text())


def clisc_folder(trainer):
    return Path(trainer.output_folder) / "clisc"


def digest(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    text = "".join(f"{p}{hashlib.md5(p.read_bytes()).hexdigest()}" for p in files)
    return hashlib.md5(text.encode()).hexdigest()


def log_of(trainer):
    files = sorted(Path(trainer.output_folder).glob("training_log_*.txt"))
    return "".join(file.read_text() for file in files)


def predict(monkeypatch, draw):
    """Let all predictions be empty but for what `draw` puts into them."""

    def predict_all(due):
        for case in due.cases:
            mask = np.zeros(due.dataset.load_case(case)[0].shape[1:], bool)
            draw(mask)
            filter_round._write_mask(due, case, mask)

    monkeypatch.setattr(filter_round, "_predict_all", predict_all)


def predict_nothing(monkeypatch):
    predict(monkeypatch, lambda mask: None)


def test_a_round_decides_what_is_trained_on(root):
    before = digest(root / "nnUNet_preprocessed")
    trainer = train(make_trainer(root))
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
    assert digest(root / "nnUNet_preprocessed") == before


def test_sam_sees_the_slices_of_the_labels_where_the_dataset_has_them(root):
    raw = root / "nnUNet_raw" / NAME
    settings = SliceSettings(plane_mm=12.0)
    for case in CASES[:4]:
        scan = raw / "imagesTr" / f"{case}_0000.nii.gz"
        store = Store(raw / "clisc" / "stages")
        cut_scan(case, scan, settings, store, Recipe("scan", settings))
    trainer = train(make_trainer(root))
    known = {case: found["kept_slices"] for case, found in facts(trainer)["cases"].items()}
    assert known == {case: case in CASES[:4] for case in CASES}
    assert log_of(trainer).count("2 of 6 cases have no slices of stage 1 that fit") == 1


@pytest.mark.parametrize("relabel", ["network", "vote"])
def test_kept_cases_learn_from_the_new_label(root, relabel):
    trainer = train(make_trainer(root, replace(DEFAULT, relabel=relabel)))
    learnt, _ = trainer.get_tr_and_val_datasets()
    for case, known in facts(trainer)["cases"].items():
        if known["kept"]:
            label = np.asarray(learnt.load_case(case)[1][:])
            voxel_ml = 6.0**3 / 1000
            assert (label == 1).sum() * voxel_ml == pytest.approx(known["volume_after_ml"])
            if relabel == "network":
                assert known["volume_after_ml"] == known["volume_predicted_ml"]


def test_a_label_of_a_round_that_is_gone_is_missed(root, capsys):
    settings = replace(DEFAULT, relabel="network")
    trainer = train(make_trainer(root, settings))
    latest = Path(trainer.output_folder) / "checkpoint_latest.pth"
    shutil.copy(Path(trainer.output_folder) / "checkpoint_final.pth", latest)
    next(clisc_folder(trainer).glob("round_01/*.b2nd")).unlink()
    with pytest.raises(SystemExit) as ended:
        train(continued(root, settings, epochs=6))
    assert ended.value.code == 2
    assert "bring the folder back" in capsys.readouterr().out


def test_labels_may_stay(root):
    trainer = train(make_trainer(root, DEFAULT))
    assert not list(clisc_folder(trainer).glob("round_01/*.b2nd"))
    assert trainer.get_tr_and_val_datasets()[0].identifiers


def test_the_network_before_the_round_is_kept(root):
    trainer = train(make_trainer(root))
    folder = Path(trainer.output_folder)
    before, after = (
        torch.load(folder / f"checkpoint_{name}.pth", weights_only=False)
        for name in ("before_round_01", "final")
    )
    assert before["current_epoch"] == 2
    assert before["clisc"]["rounds"] == []
    assert [held["name"] for held in after["clisc"]["rounds"]] == ["round_01"]


def test_pictures_and_the_log_tell_of_the_round(root):
    trainer = train(make_trainer(root))
    assert (clisc_folder(trainer) / "round_01.png").stat().st_size > 10_000
    log = log_of(trainer)
    assert "kept 4 of 6 cases" in log
    assert '"keep_ratio": 0.8' in log
    scores = [line for line in log.splitlines() if "Pseudo dice" in line or "New best" in line]
    assert scores
    assert all("against pseudo-labels" in line for line in scores)


def test_training_needs_no_image_or_label_of_the_raw_dataset(root):
    shutil.rmtree(root / "nnUNet_raw")
    shutil.rmtree(root / "nnUNet_preprocessed" / NAME / "gt_segmentations")
    trainer = train(make_trainer(root))
    assert facts(trainer)["round"] == 1


@pytest.mark.parametrize(
    "moment", ["_predict_all", "_judge_case", "_write_labels", "draw_round", "write_text"]
)
def test_killed_in_a_round_it_goes_on_as_if_it_had_not_been(root, moment, monkeypatch):
    whole = train(make_trainer(root))
    expected = facts(whole)["cases"]
    shutil.rmtree(root / "nnUNet_results")

    with monkeypatch.context() as patch:

        def killed(*_args, **_kwargs):
            raise KeyboardInterrupt

        patch.setattr(filter_round, moment, killed)
        with pytest.raises(KeyboardInterrupt):
            train(make_trainer(root))
    resumed = continued(root)
    assert resumed.current_epoch == 2
    train(resumed)
    assert facts(resumed)["cases"] == expected
    assert not list(clisc_folder(resumed).glob("*.part"))


def test_a_finished_round_is_never_repeated(root, monkeypatch):
    class Killed(nnUNetTrainerCLISC):
        def on_epoch_start(self):
            super().on_epoch_start()
            if self.current_epoch == 4:
                raise KeyboardInterrupt

    Killed.__name__ = "nnUNetTrainerCLISC"
    trainer = make_trainer(root, base=Killed, epochs=6)
    trainer.save_every = 1
    with pytest.raises(KeyboardInterrupt):
        train(trainer)
    before = digest(clisc_folder(trainer))
    resumed = continued(root, epochs=6)
    assert resumed.current_epoch == 4
    monkeypatch.setattr(filter_round, "_predict_all", lambda due: pytest.fail("repeated"))
    train(resumed)
    assert digest(clisc_folder(resumed)) == before


def test_killed_between_round_and_checkpoint_the_round_stands(root, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(
            nnUNetTrainerCLISC, "_renew_loaders", lambda self: (_ for _ in ()).throw(OSError)
        )
        with pytest.raises(OSError):
            train(make_trainer(root))
    resumed = continued(root)
    before = digest(clisc_folder(resumed))
    monkeypatch.setattr(filter_round, "_predict_all", lambda due: pytest.fail("repeated"))
    train(resumed)
    assert digest(clisc_folder(resumed)) == before


def test_rounds_of_an_earlier_training_go_aside(root):
    earlier = facts(train(make_trainer(root)))
    again = train(make_trainer(root), seed=1)
    assert facts(again)["run"] != earlier["run"]
    (aside,) = clisc_folder(again).glob("earlier_*.json")
    assert json.loads(aside.read_text()) == earlier


def test_rejected_cases_may_come_back_or_not(root):
    settings = replace(DEFAULT, rounds=(0.25, 0.5), keep_ratio=0.5)
    second = facts(train(make_trainer(root, settings)), 2)
    assert sum(known["kept"] for known in second["cases"].values()) == 3

    shutil.rmtree(root / "nnUNet_results")
    trainer = train(make_trainer(root, replace(settings, readmit=False)))
    first, second = facts(trainer), facts(trainer, 2)
    rejected = {case for case, known in first["cases"].items() if not known["kept"]}
    assert all(second["cases"][case]["reason"] == "left out before" for case in rejected)
    assert sum(known["kept"] for known in second["cases"].values()) == 1


def test_cases_without_support_are_rejected_however_many_they_are(root):
    trainer = train(make_trainer(root, replace(DEFAULT, min_similarity=1.0)))
    reasons = {known["reason"] for known in facts(trainer)["cases"].values()}
    assert reasons == {"below the least similarity"}
    assert sorted(trainer.get_tr_and_val_datasets()[0].identifiers) == CASES
    assert "no case is left" in log_of(trainer)


def test_if_nothing_is_found_anywhere_training_goes_on_with_what_it_had(root, monkeypatch):
    predict_nothing(monkeypatch)
    trainer = train(make_trainer(root))
    reasons = {known["reason"] for known in facts(trainer)["cases"].values()}
    assert reasons == {"empty prediction"}
    learnt, _ = trainer.get_tr_and_val_datasets()
    assert sorted(learnt.identifiers) == CASES
    assert learnt.overlay_folder is None
    assert "no case is left" in log_of(trainer)


def test_a_round_without_a_case_does_not_start_the_network_again(root, monkeypatch):
    predict_nothing(monkeypatch)
    started = []
    monkeypatch.setattr(nnUNetTrainerCLISC, "_restart", lambda self: started.append(1))
    train(make_trainer(root, replace(DEFAULT, restart=True)))
    assert started == []


def restarts(root, monkeypatch, **settings):
    """Epochs at which the network started again, and the trainer."""
    epochs = []
    restart = nnUNetTrainerCLISC._restart

    def noted(self):
        epochs.append(self.current_epoch)
        restart(self)

    monkeypatch.setattr(nnUNetTrainerCLISC, "_restart", noted)
    trainer = train(make_trainer(root, replace(DEFAULT, restart=True, **settings)))
    return epochs, trainer


def similarities(monkeypatch, rounds):
    """Let the n-th round judge so, case by case; every prediction and answer is something."""
    judged = filter_round._judge_all

    def judge_all(due, judge):
        found = rounds[due.number - 1]
        return {
            case: replace(record, similarity=found[case], volume_predicted_ml=1.0)
            for case, record in judged(due, judge).items()
        }

    monkeypatch.setattr(filter_round, "_judge_all", judge_all)


def test_the_network_starts_again_where_many_labels_are_without_support(root, monkeypatch):
    share = 1 / len(CASES)
    similarities(monkeypatch, [dict.fromkeys(CASES, 0.9) | {CASES[0]: 0.1}])
    settings = {"min_similarity": 0.5, "keep_ratio": 1.0}
    with monkeypatch.context() as patch:
        found = restarts(root, patch, **settings, restart_from=share)
        assert found[0] == [2]
    shutil.rmtree(root / "nnUNet_results")
    epochs, trainer = restarts(root, monkeypatch, **settings, restart_from=share + 0.01)
    assert epochs == []
    assert f"no fresh start: {share:.0%} of the labels" in log_of(trainer)
    # Which cases stay is another question.
    assert sorted(trainer.get_tr_and_val_datasets()[0].identifiers) == sorted(CASES[1:])


def test_labels_left_out_before_need_no_fresh_start(root, monkeypatch):
    once = dict.fromkeys(CASES, 0.9) | {CASES[0]: 0.1}
    similarities(monkeypatch, [once, once])
    epochs, _ = restarts(
        root,
        monkeypatch,
        rounds=(0.25, 0.5),
        min_similarity=0.5,
        keep_ratio=1.0,
        restart_from=1 / len(CASES),
    )
    assert epochs == [1]


def test_the_papers_trainer_always_starts_again():
    assert PAPER.restart and PAPER.restart_from == 0


@pytest.mark.parametrize("measure", ["sam", "support"])
def test_a_speck_that_no_slice_shows_is_an_empty_prediction(root, monkeypatch, measure):
    predict(monkeypatch, lambda mask: mask.flat.__setitem__(mask.size // 2, True))
    nothing = lambda self, mask: np.zeros(self.stack.pixels.shape, bool)  # noqa: E731
    monkeypatch.setattr(PreprocessedCase, "on_slices", nothing)
    found = facts(train(make_trainer(root, replace(DEFAULT, measure=measure))))["cases"]
    assert {known["reason"] for known in found.values()} == {"empty prediction"}
    assert {known["predicted_iou"] for known in found.values()} == {None}


def test_excluded_cases_are_left_out_of_a_validation_alone(root):
    trainer = make_trainer(root)
    lists = root / "nnUNet_raw" / NAME / "clisc"
    lists.mkdir()
    (lists / "exclude.txt").write_text(CASES[0])
    trainer.initialize()  # what `nnUNetv2_train --val` does first
    assert CASES[0] not in trainer.do_split()[1]


def test_one_case_is_enough(root):
    (root / "nnUNet_raw" / NAME / "clisc").mkdir()
    (root / "nnUNet_raw" / NAME / "clisc" / "exclude.txt").write_text("\n".join(CASES[1:]))
    trainer = train(make_trainer(root))
    assert list(facts(trainer)["cases"]) == CASES[:1]
    assert trainer.get_tr_and_val_datasets()[0].identifiers == CASES[:1]


def test_trusted_cases_keep_their_labels_and_excluded_ones_are_never_seen(root):
    lists = root / "nnUNet_raw" / NAME / "clisc"
    lists.mkdir()
    (lists / "trusted.txt").write_text("case_1\n")
    (lists / "exclude.txt").write_text("case_2  # moved during the scan\n")
    trainer = train(make_trainer(root, replace(DEFAULT, keep_ratio=0.0)))
    found = facts(trainer)["cases"]
    assert "case_2" not in found
    assert found["case_1"]["reason"] == "trusted"
    assert found["case_1"]["kept"]
    overlay, _ = overlay_files(clisc_folder(trainer) / "round_01", "case_1")
    assert not overlay.exists()
    assert "1 trusted and 1 excluded" in log_of(trainer)


def test_cases_excluded_after_a_round_are_not_seen_when_training_goes_on(root):
    trainer = train(make_trainer(root))
    latest = Path(trainer.output_folder) / "checkpoint_latest.pth"
    shutil.copy(Path(trainer.output_folder) / "checkpoint_final.pth", latest)
    kept = list(trainer.get_tr_and_val_datasets()[0].identifiers)
    lists = root / "nnUNet_raw" / NAME / "clisc"
    lists.mkdir()
    (lists / "exclude.txt").write_text(kept[0])
    trainer = continued(root)
    trainer.on_train_start()
    learnt, validated = trainer.get_tr_and_val_datasets()
    assert learnt.identifiers == validated.identifiers == kept[1:]
    (lists / "exclude.txt").write_text("\n".join(kept))
    with pytest.raises(SystemExit):
        continued(root).on_train_start()


def test_a_round_that_keeps_nobody_leaves_what_the_one_before_has_kept(root):
    trainer = train(make_trainer(root))
    before, _ = trainer.get_tr_and_val_datasets()
    trainer.state["rounds"].append({**trainer.state["rounds"][-1], "name": "round_02", "kept": []})
    after, _ = trainer.get_tr_and_val_datasets()
    assert after.identifiers == before.identifiers and len(after.identifiers) < len(CASES)
    assert after.overlay_folder == before.overlay_folder


def test_validation_cases_of_a_fold_are_left_alone(root):
    trainer = train(make_trainer(root, fold=0))
    learnt, validated = trainer.get_tr_and_val_datasets()
    train_cases, validation_cases = trainer.do_split()
    assert set(facts(trainer)["cases"]) == set(train_cases)
    assert validated.identifiers == sorted(validation_cases)
    assert validated.overlay_folder is None
    assert not set(learnt.identifiers) & set(validation_cases)


def test_the_paper_s_preset_starts_again_from_random_weights(root):
    trainer = train(make_trainer(root, PAPER, base=nnUNetTrainerCLISC_paper))
    assert "starts again from random weights" in log_of(trainer)
    rates = trainer.logger.get_value("lrs", step=None)
    assert rates[2] == rates[0] == trainer.initial_lr
    assert rates[3] < rates[2]

    latest = Path(trainer.output_folder) / "checkpoint_latest.pth"
    shutil.copy(Path(trainer.output_folder) / "checkpoint_final.pth", latest)
    resumed = continued(root, PAPER, base=nnUNetTrainerCLISC_paper)
    resumed.lr_scheduler.step(3)
    assert resumed.optimizer.param_groups[0]["lr"] == pytest.approx(rates[3])


def test_absent_weights_of_sam_end_it_before_the_first_epoch(root, capsys):
    trainer = make_trainer(root, replace(DEFAULT, sam="sam_vit_b"))
    with pytest.raises(SystemExit) as ended:
        train(trainer)
    assert ended.value.code == 2
    assert "the weights of sam_vit_b" in capsys.readouterr().out
    assert trainer.current_epoch == 0


def test_the_file_of_sam_is_the_converters_or_asked_for(root, sam_file, capsys):
    file = root / "nnUNet_preprocessed" / NAME / "dataset.json"
    content = json.loads(file.read_text())
    content["clisc"]["sam"] = {"name": "mine.pth", "sha256": file_sha256(sam_file)}
    file.write_text(json.dumps(content))
    with pytest.raises(SystemExit):
        train(make_trainer(root))
    assert "say where it lies: CLISC_SAM=FILE" in capsys.readouterr().out
    record = root / "nnUNet_raw" / NAME / "clisc" / "run.json"
    record.parent.mkdir(exist_ok=True)
    record.write_text(json.dumps({"models": {"sam": {"name": str(sam_file)}}}))
    trainer = make_trainer(root)
    trainer._prepare()
    assert f"CLISC: SAM {sam_file}" in log_of(trainer)


def test_a_configuration_of_the_cascade_is_refused(root, capsys):
    folder = root / "nnUNet_preprocessed" / NAME
    plans = json.loads((folder / f"{PLANS}.json").read_text()) | {"continue_training": False}
    content = json.loads((folder / "dataset.json").read_text())
    with pytest.raises(SystemExit) as ended:
        nnUNetTrainerCLISC(plans, "3d_cascade_fullres", "all", content, torch.device("cpu"))
    assert ended.value.code == 2
    assert "cascade" in capsys.readouterr().out


def test_labels_of_several_kinds_are_refused(root, capsys):
    file = root / "nnUNet_preprocessed" / NAME / "dataset.json"
    content = json.loads(file.read_text())
    content["labels"] = {"background": 0, "oedema": 1, "core": 2}
    file.write_text(json.dumps(content))
    with pytest.raises(SystemExit):
        make_trainer(root)
    assert "one foreground label" in capsys.readouterr().out


@pytest.mark.parametrize("configuration", ["2d", "3d_lowres"])
def test_other_configurations_have_rounds_too(root, configuration, monkeypatch):
    monkeypatch.setitem(globals(), "CONFIGURATION", configuration)
    assert facts(train(make_trainer(root)))["round"] == 1
