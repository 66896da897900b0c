import csv
import json
import re
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
from helpers.evaluated import png_size
from helpers.finished import SCAN, SHAPE, FinishedCase, block, on_scan, write_finished

from clisc_nnunet.cli.evaluate import main
from clisc_nnunet.evaluation.evaluate import EvaluationOptions, evaluate
from clisc_nnunet.io.volume import write_volume
from clisc_nnunet.processes import SerialExecutor

TRUTH = block(slice(2, 5), slice(2, 10), slice(3, 13))
HALF = block(slice(2, 5), slice(2, 6), slice(3, 13))
EMPTY = np.zeros(SHAPE, bool)
# Case: prediction, reference.
CASES = {
    "good": (TRUTH, TRUTH),
    "half": (HALF, TRUTH),
    "missed": (EMPTY, TRUTH),
    "healthy": (EMPTY, EMPTY),
    "<b>false": (HALF, EMPTY),
}


@pytest.fixture
def folders(tmp_path):
    for name, (prediction, reference) in CASES.items():
        for folder, mask in (("p", prediction), ("r", reference)):
            write_volume(tmp_path / folder / f"{name}.nii.gz", on_scan(mask), SCAN)
    return tmp_path / "p", tmp_path / "r"


@pytest.fixture
def call(folders):
    return ["-p", str(folders[0]), "-r", str(folders[1]), "-np", "1"]


def test_scores_of_known_masks(folders):
    result = evaluate(EvaluationOptions(*folders, processes=1))
    scores = {s.case: s for s in result.scores}
    assert scores["good"].dice == scores["good"].surface_dice == 1.0
    half = scores["half"]
    assert half.dice == pytest.approx(2 / 3)
    assert (half.precision, half.recall) == (1.0, 0.5)
    # 120 voxels of 1.5 x 1.5 x 6 mm; the four rows that are missing lie up to 6 mm away.
    assert half.predicted_ml == pytest.approx(1.62)
    assert half.volume_difference_ml == pytest.approx(-1.62)
    assert half.volume_difference_percent == pytest.approx(-50)
    assert half.hd95_mm == pytest.approx(6.0)
    assert (half.lesions, half.lesions_found, half.lesions_false) == (1, 1, 0)


def test_empty_masks_are_counted(folders):
    result = evaluate(EvaluationOptions(*folders, processes=1))
    found = {s.measure: s for s in result.summary}
    assert (found["dice"].cases, found["dice"].mean) == (4, pytest.approx((1 + 2 / 3) / 4))
    assert (found["hd95_mm"].cases, found["hd95_mm"].undefined) == (2, 3)
    assert "prediction is empty: missed; only the reference: <b>false." in result.text
    assert "HD95 is the mean of 2 of 5 cases" in result.text
    assert "empty in both: healthy." in result.text


def test_writes_files(folders, call, tmp_path, capsys):
    images = tmp_path / "images"
    write_volume(images / "good.nii.gz", np.indices(SHAPE).sum(axis=0).astype(np.float32), SCAN)
    out = tmp_path / "out"
    assert main([*call, "-o", str(out), "-i", str(images)]) == 0
    assert "| dice | 4 |" in capsys.readouterr().out
    with (out / "evaluation.csv").open() as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert float(rows["half"]["dice"]) == pytest.approx(2 / 3)
    assert rows["missed"]["hd95_mm"] == ""
    record = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert record["summary"]["dice"]["cases"] == 4
    assert record["empty"]["both"] == ["healthy"]
    assert record["sums"] == {
        "lesions": 3,
        "lesions_found": 2,
        "lesions_predicted": 3,
        "lesions_false": 1,
    }
    page = (out / "evaluation.html").read_text(encoding="utf-8")
    # Names are a user's: they are shown as they are and never become a tag. A failed case is the
    # worst, the perfect one the best.
    assert "&lt;b&gt;false" in page
    assert "<b>false" not in page
    assert re.findall(r"<b>(\w+)</b>: ([^,]*),", page) == [
        ("best", "good"),
        ("median", "missed"),
        ("worst", "&lt;b&gt;false"),
    ]
    assert not re.search(r"(src|href)=.(?!data:)", page), "the page needs no other file"
    assert all(min(png_size(png)) > 100 for png in re.findall(r"base64,([^\"]+)", page))


def test_labels_of_interest(folders, call, capsys):
    labels = on_scan(TRUTH).astype(np.uint8) * 2 + on_scan(HALF)  # 3 in one half, 2 in the other
    for folder in folders:
        write_volume(folder / "good.nii.gz", labels, SCAN)
    result = evaluate(EvaluationOptions(*folders, labels=(3,), processes=1))
    good = next(s for s in result.scores if s.case == "good")
    assert good.predicted_ml == good.reference_ml == pytest.approx(1.62)
    assert main([*call, "--label-of-interest", "7"]) == 2
    assert "no voxel of label 7 in any reference" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option, value, message",
    [
        ("-np", "0", "-np: found 0; expected 1 or more"),
        ("--seed", "-1", "--seed: found -1; expected 0 or more"),
        ("--tolerance", "-1", "--tolerance: found -1.0; expected 0 mm or more"),
        ("--tolerance", "nan", "--tolerance: found nan; expected 0 mm or more"),
        ("--label-of-interest", "0", "expected labels above 0"),
        ("-p", "SAME", "-p and -r: found .*; expected two different folders"),
        ("-o", "FILE", "-o: found .*; expected a folder"),
        ("-o", "BELOW", "-o: found .*good.nii.gz, a file; expected a folder"),
    ],
)
def test_impossible_calls(folders, call, option, value, message, capsys):
    file = folders[0] / "good.nii.gz"
    names = {"SAME": folders[1], "FILE": file, "BELOW": file / "scores"}
    assert main([*call, option, str(names.get(value, value))]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_two_processes_give_the_same(folders):
    alone, together = (evaluate(EvaluationOptions(*folders, processes=n)) for n in (1, 2))
    assert repr(alone.scores) == repr(together.scores)


def test_mistakes_are_reported_in_one_line_and_nothing_is_written(folders, call, tmp_path, capsys):
    (folders[0] / "good.nii.gz").unlink()
    assert main([*call, "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "no prediction for 1 of 5 references (good)" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert main([*call, "--missing", "leave-out"]) == 0
    assert "no prediction: 1 (good)" in capsys.readouterr().out


def test_a_broken_file_ends_it(folders, call, capsys):
    path = folders[0] / "half.nii.gz"
    path.write_bytes(path.read_bytes()[:100])
    assert main(call) == 2
    assert "half.nii.gz" in capsys.readouterr().err


def test_images_of_other_cases(folders, call, tmp_path, capsys):
    write_volume(tmp_path / "i" / "z.nii.gz", np.indices(SHAPE)[0].astype(np.float32), SCAN)
    assert main([*call, "-i", str(tmp_path / "i"), "-o", str(tmp_path / "out")]) == 2
    assert "none of a scored case" in capsys.readouterr().err


def test_a_scan_that_is_of_no_use_costs_its_picture_alone(folders, call, tmp_path):
    for name in CASES:
        write_volume(tmp_path / "i" / f"{name}.nii.gz", np.ones(SHAPE, np.float32), SCAN)
    assert main([*call, "-i", str(tmp_path / "i"), "-o", str(tmp_path / "out")]) == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["evaluation.csv", "evaluation.html", "evaluation.json"]


def test_a_process_that_dies_is_reported(folders, monkeypatch, capsys):
    class Dying(SerialExecutor):
        def map(self, *_):
            raise BrokenProcessPool

    monkeypatch.setattr("clisc_nnunet.evaluation.evaluate.make_executor", lambda n: Dying())
    assert main(["-p", str(folders[0]), "-r", str(folders[1]), "-np", "2"]) == 2
    assert "-np 2: found a worker process that died" in capsys.readouterr().err


def test_one_of_several_channels_is_shown(folders, tmp_path, capsys):
    scan = np.indices(SHAPE).sum(axis=0).astype(np.float32)
    for name in ("good", "half"):
        for number, array in enumerate((scan[::-1], scan)):
            write_volume(tmp_path / "i" / f"{name}_000{number}.nii.gz", array, SCAN)
    call = ["-p", str(folders[0]), "-r", str(folders[1]), "-np", "1", "-i", str(tmp_path / "i")]
    assert main(call) == 2
    assert "--channels flair=0003" in capsys.readouterr().err
    for number in "01":
        out = tmp_path / number
        assert main([*call, "-o", str(out), "--channels", f"flair=000{number}"]) == 0
    pages = [(tmp_path / n / "evaluation.html").read_text(encoding="utf-8") for n in "01"]
    assert pages[0] != pages[1]


def test_stages_of_a_conversion(tmp_path, capsys):
    case = FinishedCase(HALF, TRUTH, TRUTH, np.full(8, 0.5), np.zeros(8, int))
    dataset = write_finished(tmp_path / "d", {"one": case}, failed="broken")
    write_volume(tmp_path / "r" / "one.nii.gz", on_scan(TRUTH), SCAN)
    call = ["-d", str(dataset), "-r", str(tmp_path / "r"), "-o", str(tmp_path / "out")]
    assert main(call) == 0
    assert "| one | 0.667 | 1.000 | 1.000 |" in capsys.readouterr().out
    figures = json.loads((tmp_path / "out" / "stages.json").read_text(encoding="utf-8"))
    assert figures["mean"]["raw ROI"] == pytest.approx(2 / 3)
    assert (tmp_path / "out" / "stages.csv").read_text(encoding="utf-8").startswith("case,raw ROI")


def test_help_needs_no_heavy_import():
    code = (
        "import sys; from clisc_nnunet.cli.evaluate import make_parser; make_parser();"
        "print({'torch', 'scipy', 'SimpleITK', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
