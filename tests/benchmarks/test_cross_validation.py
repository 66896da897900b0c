"""The cross-validation with a stand-in for nnU-Net, whose trainer has tests of its own."""

import json
import math

import numpy as np
import pytest
from helpers.finished import SCAN, SHAPE, block, on_scan

from benchmarks import cross_validation
from benchmarks.cross_validation import DRAWN, FOLDS, CrossValidation, main, make_folds, tables
from benchmarks.nnunet_training import Budget
from clisc_nnunet.io.volume import read_mask, write_volume
from clisc_nnunet.quality_control.score_predictions import dataset_json, find_predictions

TRUTH = block(slice(2, 5), slice(2, 10), slice(3, 13))
HALF = block(slice(2, 5), slice(2, 6), slice(3, 13))
EMPTY = np.zeros(SHAPE, bool)
CASES = [f"c{k}" for k in range(6)]
MASKS = {"stock": HALF, "CLISC": TRUTH, "CLISC-restart": HALF, "supervised": EMPTY}


@pytest.fixture
def folders(tmp_path):
    scan = np.random.default_rng(0).normal(100, 9, SHAPE).astype(np.float32)
    dataset = tmp_path / "dataset"
    for case in CASES:
        write_volume(dataset / "imagesTr" / f"{case}_0000.nii.gz", scan, SCAN)
        write_volume(dataset / "labelsTr" / f"{case}.nii.gz", on_scan(HALF), SCAN)
        write_volume(tmp_path / "refs" / f"{case}.nii.gz", on_scan(TRUTH), SCAN)
    (dataset / "dataset.json").write_text(json.dumps({"clisc": {"sam": {"name": "bundled"}}}))
    return tmp_path


@pytest.fixture
def trained(monkeypatch):
    """Variant and fold of each training; every network predicts its variant's mask."""
    done = []

    def train(bench, variant, seed, fold):
        done.append((variant, seed, fold))
        return variant

    def predict(variant, cases):
        return {case: on_scan(MASKS[variant]) for case in cases}

    monkeypatch.setattr(CrossValidation, "train_network", train)
    monkeypatch.setattr(cross_validation, "predict_scans", predict)
    monkeypatch.setattr(cross_validation, "use_folders", lambda out: None)
    return done


def call(folders, *options):
    where = ["-d", str(folders / "dataset"), "-r", str(folders / "refs")]
    return main([*where, "-o", str(folders / "out"), *options])


def line(text, *begins):
    start = "| " + " | ".join(begins) + " |"
    return next(row for row in text.splitlines() if row.startswith(start))


def test_every_case_is_held_out_once():
    folds = make_folds(CASES, FOLDS)
    assert sorted(case for fold in folds for case in fold["val"]) == CASES
    assert all(sorted(fold["train"] + fold["val"]) == CASES for fold in folds)
    assert make_folds(CASES[::-1], FOLDS) == folds


def test_with_one_fold_all_are_learnt_from_and_scored():
    assert make_folds(CASES[::-1], 1) == [{"train": CASES, "val": CASES}]


def test_variants_are_compared_and_their_predictions_kept(folders, trained, capsys):
    assert call(folders) == 0
    assert len(trained) == len(set(trained)) == 3 * FOLDS
    text = capsys.readouterr().out
    assert "| 6 of 6 | 0.667 (0.667 to 0.667) |" in line(text, "stock nnU-Net on pseudo-labels")
    assert "| 6 of 6 | 1.000 (1.000 to 1.000) | 0.00 (0.00 to 0.00) |" in line(text, "CLISC")
    empty = line(text, "stock nnU-Net on true labels")
    assert "| 0.000 (0.000 to 0.000) | – |" in empty
    gain = line(text, "stock nnU-Net on pseudo-labels", "CLISC", "Dice", "1", "6")
    assert "| +0.333 | +0.333 to +0.333 |" in gain
    assert "| 0.667 | 0.667 | 1.000 | 0.000 |" in line(text, "c3")

    kept = folders / "out" / "predictions" / "CLISC_seed0"
    assert sorted(find_predictions(kept)) == CASES
    assert np.array_equal(read_mask(kept / "c3.nii.gz", SCAN), on_scan(TRUTH))
    assert dataset_json(kept)["clisc"]["sam"]["name"] == "bundled"


def test_no_time_no_training_and_what_is_there_is_shown(folders, trained, capsys):
    assert call(folders, "--minutes", "0") == 0
    assert trained == []
    text = capsys.readouterr().out
    assert "| 6 of 6 | 0.667 (0.667 to 0.667) |" in line(text, "pseudo-labels themselves")
    assert "No variant is finished with any fold yet" in text


def test_it_resumes_and_compares_what_both_have(folders, trained, monkeypatch, capsys):
    work = CrossValidation.run

    def stopped(bench, variant, seed, fold):
        if (variant, fold) == ("supervised", 1):
            raise KeyboardInterrupt
        work(bench, variant, seed, fold)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(CrossValidation, "run", stopped)
        call(folders)
    capsys.readouterr()
    assert call(folders, "--minutes", "0") == 0
    text = capsys.readouterr().out
    both, one = (sum(len(fold["val"]) for fold in make_folds(CASES, FOLDS)[:n]) for n in (2, 1))
    assert f"| {both} of 6 |" in line(text, "CLISC")
    assert line(text, "stock nnU-Net on true labels", "CLISC", "Dice", "1", str(one))
    before = len(trained)
    assert call(folders) == 0
    assert len(trained) == 3 * FOLDS and len(trained[before:]) == 3 * FOLDS - before


def test_predictions_without_scores_are_scored_and_not_recomputed(folders, trained):
    assert call(folders, "--arms", "CLISC") == 0
    (folders / "out" / "results" / "CLISC_seed0_fold2.json").unlink()
    before = list(trained)
    assert call(folders, "--arms", "CLISC") == 0
    assert trained == before
    assert (folders / "out" / "results" / "CLISC_seed0_fold2.json").exists()


def test_other_options_for_the_same_folder_are_refused(folders, trained, capsys):
    assert call(folders, "--minutes", "0") == 0
    assert call(folders, "--minutes", "0", "--epochs", "30") == 2
    assert "found epochs 12; expected epochs 30" in capsys.readouterr().err


def test_a_scan_without_reference_is_reported(folders, trained, capsys):
    (folders / "refs" / "c4.nii.gz").unlink()
    assert call(folders) == 2
    assert "no reference for c4" in capsys.readouterr().err


def test_too_few_scans_are_reported(folders, trained, capsys):
    for case in CASES[:2]:
        (folders / "dataset" / "imagesTr" / f"{case}_0000.nii.gz").unlink()
    assert call(folders) == 2
    assert "found 4 scans; expected 5 or more" in capsys.readouterr().err


def test_seeds_are_averaged_case_by_case_and_compared_where_both_have_them(
    folders, trained, monkeypatch, capsys
):
    masks = {("stock", 0): HALF, ("stock", 1): TRUTH, ("CLISC", 0): TRUTH}
    monkeypatch.setattr(
        CrossValidation, "train_network", lambda bench, variant, seed, fold: (variant, seed)
    )
    monkeypatch.setattr(
        cross_validation,
        "predict_scans",
        lambda who, cases: dict.fromkeys(cases, on_scan(masks[who])),
    )
    one_fold = ["--folds", "1"]
    assert call(folders, *one_fold, "--seeds", "0", "1", "--arms", "stock") == 0
    assert call(folders, *one_fold, "--arms", "CLISC") == 0
    capsys.readouterr()
    call(folders, *one_fold, "--seeds", "0", "1", "--minutes", "0")
    text = capsys.readouterr().out
    both = line(text, "stock nnU-Net on pseudo-labels", "6 of 6")
    assert "| 0.833 (0.833 to 0.833) |" in both and both.endswith("| 0.667 (0) 1.000 (1) |")
    # Of the seed that both have, not of the mean over two.
    assert "| +0.333 |" in line(text, "stock nnU-Net on pseudo-labels", "CLISC", "Dice", "1", "6")


def measures(**dice):
    return {"dice": dice, "hd95_mm": dict.fromkeys(dice, math.nan), "surface_dice": dice}


def test_a_case_that_is_not_finished_has_an_empty_cell():
    found = {DRAWN: {0: measures(a=0.5, b=0.7)}, "CLISC": {0: measures(a=0.75)}}
    text = tables(found, ["a", "b"])
    assert line(text, "b", "0.700", "")
    assert "| 1 | 1 | +0.250 |" in line(text, "pseudo-labels themselves", "CLISC", "Dice")


def test_the_stock_variants_are_nnunets_own_trainer(folders, monkeypatch):
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from clisc_nnunet.trainers.nnUNetTrainerCLISC import nnUNetTrainerCLISC

    made = []

    class Stopped(Exception):
        pass

    def trainer(dataset, fold, folder, base, budget, settings):
        made.append((dataset, base, settings and settings.restart))
        raise Stopped

    labels = {}

    def dataset(out, number, scans, files, *_):
        labels[number] = files["c0"].parent.name
        return str(number)

    monkeypatch.setattr(cross_validation, "make_trainer", trainer)
    monkeypatch.setattr(cross_validation, "make_dataset", dataset)
    bench = CrossValidation(
        folders / "dataset", folders / "refs", folders / "out", Budget(2, 1), 6.0
    )
    for variant in MASKS:
        with pytest.raises(Stopped):
            bench.run(variant, 0, 0)
    assert made == [
        ("701", nnUNetTrainer, None),
        ("701", nnUNetTrainerCLISC, False),
        ("701", nnUNetTrainerCLISC, True),
        ("702", nnUNetTrainer, None),
    ]
    assert labels == {701: "labelsTr", 702: "refs"}
