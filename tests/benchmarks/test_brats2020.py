from pathlib import Path

import numpy as np
import pytest
from helpers.finished import SCAN, SHAPE

from benchmarks import brats2020
from benchmarks.brats2020 import TEST, VALIDATION, main, split, steps
from clisc_nnunet.io.volume import write_volume


def test_the_split_is_the_papers():
    parts = split()
    assert {part: len(cases) for part, cases in parts.items()} == {
        "train": 257,
        "validation": 37,
        "test": 75,
    }
    assert len({case for cases in parts.values() for case in cases}) == 369
    assert parts["test"][0] == "BraTS20_Training_005"
    assert not {*TEST} & {*VALIDATION}


@pytest.fixture
def brats(tmp_path, monkeypatch):
    """Six cases, as BraTS2020 names them: one not compressed, one with its odd reference."""
    monkeypatch.setattr(brats2020, "CASES", 6)
    monkeypatch.setattr(brats2020, "VALIDATION", (1,))
    monkeypatch.setattr(brats2020, "TEST", (2, 3))
    scan = np.random.default_rng(0).normal(9, 1, SHAPE).astype(np.float32)
    for number in range(1, 7):
        name = f"BraTS20_Training_{number:03d}"
        ending = ".nii" if number in (2, 6) else ".nii.gz"
        folder = tmp_path / "brats" / name
        write_volume(folder / f"{name}_flair{ending}", scan, SCAN)
        odd = number == 3
        mask = "W39_1998.09.19_Segm.nii" if odd else f"{name}_seg{ending}"
        write_volume(folder / mask, np.ones(SHAPE, np.uint8), SCAN)
    return tmp_path / "brats"


def test_every_step_once_and_references_last(brats, tmp_path, monkeypatch):
    out, seen = tmp_path / "out", []

    def run(step, where):
        seen.append((step.name, (out / "references").exists()))
        return 0

    monkeypatch.setattr(brats2020, "run", run)
    assert main(["-i", str(brats), "-o", str(out)]) == 0
    names = ["pseudo-labels", "preprocessing", "training", "prediction", "evaluation"]
    assert seen == [(name, name == "evaluation") for name in names]
    train = sorted(path.name for path in (out / "train").iterdir())
    assert train == [f"BraTS20_Training_00{n}_0000.nii.gz" for n in (4, 5, 6)]
    test = sorted(path.name for path in (out / "test").iterdir())
    assert test == [f"BraTS20_Training_00{n}_0000.nii.gz" for n in (2, 3)]
    references = sorted(path.name for path in (out / "references").iterdir())
    assert references == ["BraTS20_Training_002.nii", "BraTS20_Training_003.nii"]
    assert main(["-i", str(brats), "-o", str(out)]) == 0
    assert len(seen) == 5


def test_a_step_that_fails_ends_it_and_is_tried_again(brats, tmp_path, monkeypatch):
    status = {"pseudo-labels": 3, "preprocessing": 1}
    seen = []
    monkeypatch.setattr(
        brats2020, "run", lambda step, out: seen.append(step.name) or status.get(step.name, 0)
    )
    call = ["-i", str(brats), "-o", str(tmp_path / "out")]
    assert main(call) == 1
    status["preprocessing"] = 130
    assert main(call) == 130
    assert seen == ["pseudo-labels", "preprocessing", "preprocessing"]


def test_another_variant_or_other_data_are_refused(brats, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(brats2020, "run", lambda step, out: 0)
    out = str(tmp_path / "out")
    assert main(["-i", str(brats), "-o", out]) == 0
    assert main(["-i", str(brats), "-o", out, "--variant", "paper"]) == 2
    assert 'variant "default"; expected variant "paper"' in capsys.readouterr().err
    other = brats.rename(tmp_path / "other")
    assert main(["-i", str(other), "-o", out]) == 2
    assert 'found data "' in capsys.readouterr().err


def test_an_interrupted_run_resumes(tmp_path):
    fold = tmp_path / "nnUNet_results/Dataset501_CLISC/nnUNetTrainerCLISC_paper__P__3d/fold_all"
    fold.mkdir(parents=True)
    (fold / "checkpoint_latest.pth").touch()
    (tmp_path / "nnUNet_raw" / "Dataset501_CLISC").mkdir(parents=True)
    commands = {s.name: s.command for s in steps(tmp_path, "paper", "cuda")}
    assert commands["training"][-1] == "--c"
    assert commands["pseudo-labels"][-1] == "--continue"
    assert "--preset" in commands["pseudo-labels"]
    assert "--c" not in {s.name: s.command for s in steps(tmp_path, "default", "cpu")}["training"]


def test_dry_run_prints_the_commands(tmp_path, capsys):
    assert main(["-i", "x", "-o", str(tmp_path), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "clisc_make_pseudo_dataset",
        "nnUNetv2_plan_and_preprocess",
        "nnUNetv2_train",
        "nnUNetv2_predict",
        "clisc_evaluate",
    ]


def test_a_missing_scan_is_reported(brats, tmp_path, capsys):
    (brats / "BraTS20_Training_003" / "BraTS20_Training_003_flair.nii.gz").unlink()
    assert main(["-i", str(brats), "-o", str(tmp_path / "out")]) == 2
    assert "no FLAIR scan of BraTS20_Training_003" in capsys.readouterr().err


def test_the_docs_have_the_same_split():
    page = Path(__file__).parents[2] / "docs" / "how-to" / "brats2020.md"
    text = page.read_text(encoding="utf-8")
    listed = {
        row[1]: tuple(map(int, row[3].split()))
        for row in (line.split("|") for line in text.splitlines() if line.startswith("| "))
        if row[1].strip() in ("test", "validation") and "0" in row[3]
    }
    assert listed == {" test ": TEST, " validation ": VALIDATION}
