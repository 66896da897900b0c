import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from helpers.finished import SCAN, SHAPE, FinishedCase, block, on_scan, write_finished

from benchmarks.evaluate_stages import main
from clisc_nnunet.evaluation.stage_scores import score_case
from clisc_nnunet.evaluation.stage_tables import case_rows, means
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.io.volume import write_volume
from clisc_nnunet.pipeline.result_cache import ResultCache
from clisc_nnunet.settings import MaskingSettings, Settings
from clisc_nnunet.stages.slice_classes import NORMAL, TUMOUR, UNSURE

EMPTY = np.zeros(SHAPE, bool)
TRUTH = block(slice(2, 5), slice(2, 10), slice(3, 13))
HALF = block(slice(2, 5), slice(2, 6), slice(3, 13))
PROBABILITY = np.array([0.1, 0.6, 0.7, 0.9, 0.4, 0.2, 0.1, 0.1])
VOTED = np.array([NORMAL, UNSURE, TUMOUR, TUMOUR, TUMOUR, NORMAL, NORMAL, NORMAL])
GOOD = FinishedCase(HALF, TRUTH, TRUTH, PROBABILITY, VOTED)
POOR = replace(GOOD, label=HALF)
HEALTHY = FinishedCase(EMPTY, EMPTY, EMPTY, np.full(8, 0.1), np.full(8, NORMAL))
TRUTHS = {"good": TRUTH, "poor": TRUTH, "healthy": EMPTY}


@pytest.fixture
def dataset(tmp_path):
    cases = {"good": GOOD, "healthy": HEALTHY, "poor": POOR}
    return write_finished(tmp_path / "dataset", cases, failed="broken")


@pytest.fixture
def references(tmp_path):
    for name, truth in TRUTHS.items():
        write_volume(
            tmp_path / "references" / f"{name}.nii.gz", on_scan(truth).astype(np.uint8), SCAN
        )
    return tmp_path / "references"


def cells(text, first):
    """The cells of the table line that starts with this one."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return next(line for line in lines if line[0] == first)


def test_prints_dice_and_slice_tables(dataset, references, capsys):
    assert main(["-d", str(dataset), "-r", str(references)]) == 0
    text = capsys.readouterr().out
    assert cells(text, "case")[1:4] == ["raw ROI", "enhanced ROI", "pseudo-label"]
    assert cells(text, "good")[1:4] == ["0.667", "1.000", "1.000"]
    assert cells(text, "poor")[3] == "0.667"
    assert cells(text, "mean")[1:4] == ["0.667", "1.000", "0.833"]
    assert "Worst three by pseudo-label: poor, good." in text
    assert "excluded from the mean: 1." in text
    assert "Failed, not scored: broken." in text
    assert "4 s in all: SAM 3 (75%); peak memory 1.5 GB" in text
    # Of the 8 + 8 planes with a label, CLIP has one tumour below 0.5 and one normal above.
    assert float(cells(text, "CLIP")[3]) == pytest.approx(20 / 24, abs=1e-3)
    assert cells(text, "CLIP, voted")[1] == f"{2 / 24:.3f}"
    assert cells(text, "CLIP, voted")[3] == "1.000"
    assert cells(text, "enhanced classifier")[0] == "enhanced classifier"
    assert "24 unambiguous slices" in text


def test_without_tumours_slices_called_one_are_counted(dataset, capsys):
    assert main(["-d", str(dataset), "--no-tumour"]) == 0
    text = capsys.readouterr().out
    found = dict(zip(cells(text, "case"), cells(text, "good"), strict=True))
    assert found["CLIP"] == found["pseudo-label"] == "0.375"
    assert found["unsure"] == "0.125"
    assert float(cells(text, "mean")[1]) == pytest.approx(0.25)
    assert set(cells(text, "healthy")[1:-2]) == {"0.000"}
    assert "Worst" not in text


def test_writes_figures(dataset, references, tmp_path):
    path = tmp_path / "figures.csv"
    assert main(["-d", str(dataset), "-r", str(references), "-o", str(path)]) == 0
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == ["poor", "good", "healthy"]
    assert float(rows[0]["pseudo-label"]) == pytest.approx(2 / 3)
    figures = json.loads(path.with_suffix(".json").read_text())
    assert figures["cases"][2]["pseudo-label"] is None
    assert figures["mean"]["pseudo-label"] == pytest.approx(5 / 6)
    assert figures["failed"] == ["broken"]
    assert figures["slices"][0]["slice labels"] == "CLIP"


def test_a_conversion_that_ended_without_a_dataset_is_scored(dataset, capsys):
    (dataset / "clisc" / "run.json").unlink()
    assert main(["-d", str(dataset), "--no-tumour"]) == 0
    assert "seconds" not in capsys.readouterr().out


def test_missing_conversion_is_reported_in_one_line(tmp_path, capsys):
    assert main(["-d", str(tmp_path), "--no-tumour"]) == 2
    error = capsys.readouterr().err
    assert "expected a finished conversion" in error
    assert error.count("\n") == 1


def test_only_failed_cases_are_reported(tmp_path, capsys):
    (tmp_path / "clisc").mkdir()
    (tmp_path / "clisc" / "cases.csv").write_text("case,status\na,failed\n")
    assert main(["-d", str(tmp_path), "--no-tumour"]) == 2
    assert "failed cases only" in capsys.readouterr().err


def test_a_label_of_a_persons_hand_is_not_scored(dataset, references, tmp_path, capsys):
    table = dataset / "clisc" / "cases.csv"
    table.write_text(table.read_text().replace("good,labelled", "good,trusted"))
    assert main(["-d", str(dataset), "-r", str(references)]) == 0
    assert "Trusted, not scored: good." in capsys.readouterr().out


def test_a_label_that_was_corrected_after_the_run_is_not_scored(
    dataset, references, tmp_path, capsys
):
    cache = ResultCache(dataset / "clisc" / "stages")
    for case in ("good", "poor"):
        digest = file_sha256(dataset / "labelsTr" / f"{case}.nii.gz")
        cache.write_record(case, "label", {"sha256": [digest]})
    write_volume(dataset / "labelsTr" / "poor.nii.gz", on_scan(TRUTH).astype(np.uint8), SCAN)
    assert main(["-d", str(dataset), "-r", str(references)]) == 0
    assert "Trusted, not scored: poor." in capsys.readouterr().out
    label = dataset / "labelsTr" / "poor.nii.gz"
    label.write_bytes(label.read_bytes()[:-9])
    assert main(["-d", str(dataset), "-r", str(references)]) == 2
    assert "poor.nii.gz: found a file that cannot be read" in capsys.readouterr().err


def test_what_an_earlier_run_with_masking_has_left_is_not_scored(dataset, references, capsys):
    settings = Settings(masking=MaskingSettings(mode="off"))
    (dataset / "clisc" / "settings.json").write_text(settings.to_json())
    assert main(["-d", str(dataset), "-r", str(references)]) == 0
    text = capsys.readouterr().out
    assert "raw ROI" in text and "enhanced" not in text


def test_a_table_of_something_else_is_reported(dataset, capsys):
    (dataset / "clisc" / "cases.csv").write_text("case,state\ngood,labelled\n")
    assert main(["-d", str(dataset), "--no-tumour"]) == 2
    assert "cases.csv: found no column status" in capsys.readouterr().err


def test_a_damaged_result_is_reported(dataset, references, capsys):
    file = dataset / "clisc" / "stages" / "good" / "labels.npz"
    file.write_bytes(file.read_bytes()[:50])
    assert main(["-d", str(dataset), "-r", str(references)]) == 2
    assert "labels.npz: found a damaged file" in capsys.readouterr().err


def test_results_that_were_removed_are_reported(dataset, references, capsys):
    shutil.rmtree(dataset / "clisc" / "stages")
    assert main(["-d", str(dataset), "-r", str(references)]) == 2
    assert "slices.npz: found no such file" in capsys.readouterr().err


def test_missing_reference_is_reported(dataset, tmp_path, capsys):
    write_volume(tmp_path / "r" / "good.nii.gz", on_scan(TRUTH).astype(np.uint8), SCAN)
    assert main(["-d", str(dataset), "-r", str(tmp_path / "r")]) == 2
    assert "no reference for 2 cases (healthy, poor)" in capsys.readouterr().err


def test_worst_first_and_undefined_last(dataset, references):
    cases = [score_case(dataset, name, references / f"{name}.nii.gz") for name in sorted(TRUTHS)]
    assert [row["case"] for row in case_rows(cases)] == ["poor", "good", "healthy"]


def test_means_leave_out_what_is_undefined():
    rows = [{"case": "a", "x": 1.0, "y": np.nan}, {"case": "b", "x": np.nan, "y": np.nan}]
    found = means(rows)
    assert found["x"] == 1.0
    assert np.isnan(found["y"])
