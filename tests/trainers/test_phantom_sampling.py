import json

import numpy as np
import pytest
from helpers.clisc_training import log_of, make_trainer
from helpers.tiny_nnunet import CASES, NAME

from clisc_nnunet.errors import UserError
from clisc_nnunet.trainers.phantom_sampling import Phantoms, names_to_draw
from clisc_nnunet.trainers.round_settings import RoundSettings, resolve

PHANTOMS = CASES[-2:]
SCANS = CASES[:-2]


def share_of(names, phantoms):
    return sum(name in phantoms for name in names) / len(names)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.25, 0.5, 0.8, 0.9])
@pytest.mark.parametrize(("scans", "phantoms"), [(14, 32), (5, 1), (3, 200), (400, 16), (7, 7)])
def test_share_of_the_names_whatever_the_counts(scans, phantoms, share):
    scans, phantoms = [f"s{k}" for k in range(scans)], [f"p{k}" for k in range(phantoms)]
    names = names_to_draw(scans, phantoms, share)
    assert share_of(names, phantoms) == pytest.approx(share, abs=0.02)
    assert {names.count(one) for one in scans} == {names.count(scans[0])}
    assert {names.count(one) for one in phantoms} == {names.count(phantoms[0])}
    assert set(names) == {*scans, *phantoms}
    assert len(names) < 20_000


@pytest.mark.parametrize(("phantoms", "share"), [(["p"], 0.0), ([], 0.5)])
def test_no_share_or_no_phantoms_change_nothing(phantoms, share):
    assert names_to_draw(["a", "b"], phantoms, share) == ["a", "b"]
    assert names_to_draw([], ["p"], 0.5) == []


def test_share_is_a_setting_with_bounds():
    assert resolve(RoundSettings(), {}, {"CLISC_PHANTOM_SHARE": "0.5"}).phantom_share == 0.5
    with pytest.raises(UserError, match=r"phantom_share = 0.95; expected a number, 0 to 0.9"):
        resolve(RoundSettings(), {}, {"CLISC_PHANTOM_SHARE": "0.95"})


def test_phantoms_are_named_by_the_dataset_or_by_its_list(tmp_path):
    content = {"clisc": {"phantoms": ["p1", "gone"]}}
    assert Phantoms.among(["a", "p1", "p2"], content, []).names == {"p1"}
    (tmp_path / "phantoms.txt").write_text("# made by the converter\np1\np2\n")
    assert Phantoms.among(["a", "p1", "p2"], {}, [tmp_path]).names == {"p1", "p2"}
    for without in ({}, {"clisc": "other"}):
        assert Phantoms.among(["a", "p1"], without, [tmp_path / "nowhere"]) == Phantoms()


def test_folds_are_those_without_phantoms_with_phantoms_in_training_alone(tmp_path):
    scans, phantoms = [f"s{k}" for k in range(7)], ["p1", "p2"]
    Phantoms(frozenset(phantoms)).prepare_splits(tmp_path, [*phantoms, *scans[::-1]])
    folds = json.loads((tmp_path / "splits_final.json").read_text())
    assert sorted(case for fold in folds for case in fold["val"]) == scans
    for fold in folds:
        assert sorted([*fold["train"], *fold["val"]]) == sorted([*scans, *phantoms])
        assert not set(phantoms) & set(fold["val"])
    before = (tmp_path / "splits_final.json").read_text()
    Phantoms(frozenset(["p1"])).prepare_splits(tmp_path, ["p1", *scans])
    assert (tmp_path / "splits_final.json").read_text() == before


def test_too_few_scans_for_folds_are_reported(tmp_path):
    with pytest.raises(UserError, match="4 scans beside 1 phantoms; expected 5 scans or more"):
        Phantoms(frozenset(["p"])).prepare_splits(tmp_path, ["p", *"abcd"])
    Phantoms().prepare_splits(tmp_path, list("abcd"))  # as nnU-Net does it
    assert not any(tmp_path.iterdir())


def test_a_split_keeps_its_scans():
    phantoms = Phantoms(frozenset(["p"]))
    assert phantoms.without(["a", "p"], ["p", "b"]) == (["a"], ["b"])
    with pytest.raises(UserError, match="phantoms alone in the validation set"):
        phantoms.without(["a"], ["p"])


@pytest.fixture
def phantom_root(nnunet_root):
    """Two of the heads are phantoms, by the list beside the raw dataset."""
    lists = nnunet_root / "nnUNet_raw" / NAME / "clisc"
    lists.mkdir()
    (lists / "phantoms.txt").write_text("\n".join(PHANTOMS))
    return nnunet_root


def started(root, **settings):
    trainer = make_trainer(root, RoundSettings(rounds=(), start="random", **settings))
    trainer.initialize()
    return trainer


def test_batches_have_the_share_and_validation_has_none(phantom_root):
    trainer = started(phantom_root, phantom_share=0.5)
    training, validation = trainer.get_dataloaders()
    np.random.seed(0)  # noqa: NPY002 - the generator that batchgenerators draws from
    drawn = [key for _ in range(150) for key in next(training)["keys"]]
    assert share_of(drawn, PHANTOMS) == pytest.approx(0.5, abs=0.1)
    assert set(drawn) == set(CASES)
    assert {key for _ in range(30) for key in next(validation)["keys"]} == set(SCANS)
    assert "2 phantoms, 50% of the training cases in the batches; 4 scans" in log_of(trainer)


def test_excluded_phantoms_and_a_share_of_zero_are_respected(phantom_root):
    lists = phantom_root / "nnUNet_raw" / NAME / "clisc"
    (lists / "exclude.txt").write_text(f"{PHANTOMS[0]}\n{SCANS[0]}\n")
    train, validate = started(phantom_root).get_tr_and_val_datasets()
    assert set(train.identifiers) == {*SCANS[1:], PHANTOMS[1]}
    assert set(validate.identifiers) == set(SCANS[1:])
    train, _ = started(phantom_root, phantom_share=0.0).get_tr_and_val_datasets()
    assert set(train.identifiers) == set(SCANS[1:])
    (lists / "exclude.txt").write_text("\n".join(SCANS))
    with pytest.raises(SystemExit):
        started(phantom_root)


def test_rounds_rank_scans_alone_and_phantoms_stay(phantom_root):
    trainer = started(phantom_root, phantom_share=0.25)
    train, validate = trainer.do_split()
    assert sorted(train) == sorted(validate) == SCANS
    kept = {"name": "round_01", "kept": SCANS[:2], "relabelled": []}
    trainer.state["rounds"].append(kept)
    train, validate = trainer.get_tr_and_val_datasets()
    assert set(train.identifiers) == {*SCANS[:2], *PHANTOMS}
    assert set(validate.identifiers) == set(SCANS[:2])
