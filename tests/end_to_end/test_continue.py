"""Runs that are killed, fail, are repeated or divided give the same labels."""

import errno
import json
import os
import random
import shutil
import signal
import time
from dataclasses import replace

import pytest
import SimpleITK as sitk
from helpers.quick import clisc, convert, labels, start

from clisc_nnunet.models.clip import ClipModel
from clisc_nnunet.models.sam import SamModel
from clisc_nnunet.pipeline import model_steps, pseudo_label_pipeline

pytestmark = pytest.mark.slow


def result_files(root):
    return sum(1 for path in clisc(root).glob("stages/**/*") if not path.name.startswith("."))


def test_killed_at_any_moment_it_resumes(scans, unbroken, tmp_path):
    total, rng = result_files(unbroken), random.Random(os.getpid())
    moments = sorted(rng.sample(range(2, total - 1), 3))
    for moment in moments:
        process = start(scans, tmp_path, "--continue")
        while process.poll() is None and result_files(tmp_path) < moment:
            time.sleep(0.01)
        time.sleep(rng.random() * 0.2)  # at a random point of the next step
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(scans, tmp_path, "--continue").wait() == 0, moments
    assert labels(tmp_path) == labels(unbroken), moments


def test_a_finished_run_is_kept_completely(scans, unbroken, copy, capsys):
    stages = {path: path.stat().st_mtime_ns for path in clisc(copy).glob("stages/*/*")}
    assert convert(scans, copy, "--continue") == 0
    out = capsys.readouterr().out
    for line in ("slices: 3 of 3 kept", "SAM: 3 of 3 kept", "raw classifier: kept"):
        assert line in out
    assert {path: path.stat().st_mtime_ns for path in stages} == stages
    assert labels(copy) == labels(unbroken)


def test_what_does_not_match_is_reported(scans, copy, capsys):
    more = ["--continue", "--set", "pseudo_label.fill_holes=false"]
    assert convert(scans, copy, *more) == 0
    out = capsys.readouterr().out
    assert "SAM: 3 of 3 kept" in out
    expected = "labels: 0 of 3 kept; 3 made again (settings fill_holes: false, before true)"
    assert expected in out


def test_the_same_files_taken_for_other_models_make_all_again(scans, copy, monkeypatch, capsys):
    monkeypatch.setattr(SamModel, "identity", "the same file, normalised otherwise")
    assert convert(scans, copy, "--continue") == 0
    out = capsys.readouterr().out
    assert "slice labels: 3 of 3 kept" in out
    for stage in ("raw choice", "enhanced choice", "SAM"):
        assert f"{stage}: 0 of 3 kept; 3 made again (other weights)" in out
    monkeypatch.setattr(ClipModel, "identity", "the same file with another GELU")
    assert convert(scans, copy, "--continue") == 0
    out = capsys.readouterr().out
    assert "slice labels: 0 of 3 kept; 3 made again (other weights)" in out


def test_later_passes_of_sam_leave_the_choice_of_the_cam(scans, copy, capsys):
    """The selection uses single axial passes, so none of it is recomputed."""
    more = ["--continue", "--set", "sam.close_up=0", "--set", "sam.second_opinion=0"]
    assert convert(scans, copy, *more) == 0
    out = capsys.readouterr().out
    assert "raw choice: 3 of 3 kept" in out and "enhanced choice: 3 of 3 kept" in out
    assert "SAM: 0 of 3 kept; 3 made again (settings close_up: 0.0, before 1.5" in out


def test_the_order_of_files_and_the_number_of_processes_do_not_matter(scans, unbroken, tmp_path):
    for case in sorted(scans.iterdir(), reverse=True):
        shutil.copytree(case, tmp_path / "scans" / case.name)
    assert convert(tmp_path / "scans", tmp_path, "-np", "2") == 0
    assert labels(tmp_path) == labels(unbroken)


def test_parts_give_the_labels_of_a_single_run(scans, unbroken, tmp_path, capsys):
    parts = [["-num_parts", "2", "-part_id", str(k)] for k in range(2)]
    assert convert(scans, tmp_path, "--stage", "regions", *parts[0]) == 2
    assert "run --stage classifier first" in capsys.readouterr().err
    for stage in ("slices", "classifier", "regions", "enhanced", "labels"):
        shares = parts if stage in ("slices", "regions", "labels") else [[]]
        for share in shares:
            assert convert(scans, tmp_path, "--stage", stage, *share) == 0
    capsys.readouterr()
    assert convert(scans, tmp_path, "--continue") == 0
    assert "labels: 3 of 3 kept" in capsys.readouterr().out
    assert labels(tmp_path) == labels(unbroken)


def test_parts_of_a_step_that_learns_are_refused(scans, tmp_path, capsys):
    assert convert(scans, tmp_path, "--stage", "enhanced", "-num_parts", "2") == 2
    assert "needs all cases" in capsys.readouterr().err
    assert convert(scans, tmp_path, "-num_parts", "2", "-part_id", "2") == 2
    assert "0 to num_parts - 1" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def fail_for(patch, step, name):
    """Make a step of `model_steps` fail for one case."""
    work = getattr(model_steps, step)

    def run(config, case, *args, **kwargs):
        if case.name == name:
            raise RuntimeError("no memory for this one")
        return work(config, case, *args, **kwargs)

    patch.setattr(model_steps, step, run)
    if step == "label_slices":
        failing = replace(model_steps.LABEL_SLICES, run=run)
        patch.setattr(pseudo_label_pipeline, "LABEL_SLICES", failing)


@pytest.mark.parametrize("stage", ["segment", "find_region"])
def test_a_failure_skips_one_case_and_can_be_retried(
    stage, scans, unbroken, tmp_path, monkeypatch, capsys
):
    kept = "phantom_0001"
    shutil.copytree(unbroken, tmp_path, symlinks=True, dirs_exist_ok=True)
    for name in ("masks.npz", "enhanced_regions.npz"):
        (clisc(tmp_path) / "stages" / kept / name).unlink()
    with monkeypatch.context() as patch:
        fail_for(patch, stage, kept)
        assert convert(scans, tmp_path, "--continue") == 3
    assert "RuntimeError: no memory for this one" in capsys.readouterr().err
    record = json.loads((clisc(tmp_path) / "stages" / kept / "failure.json").read_text())
    assert "Traceback" in record["traceback"]
    others = {k: v for k, v in labels(unbroken).items() if not k.startswith(kept)}
    assert labels(tmp_path) == others
    assert convert(scans, tmp_path, "--continue") == 3  # not tried again
    assert convert(scans, tmp_path, "--retry-failed") == 0
    assert f"1 cases were skipped before: {kept}" in capsys.readouterr().out
    assert labels(tmp_path) == labels(unbroken)


def test_a_case_that_comes_in_late_changes_no_other(scans, unbroken, tmp_path, monkeypatch):
    late = "phantom_0002"
    with monkeypatch.context() as patch:
        fail_for(patch, "label_slices", late)
        assert convert(scans, tmp_path) == 3
    before = labels(tmp_path)
    for option in ("--retry-failed", "--continue"):
        assert convert(scans, tmp_path, option) == 0
        after = labels(tmp_path)
        assert {name: after[name] for name in before} == before
        assert f"{late}.nii.gz" in after
    assert before != {k: v for k, v in labels(unbroken).items() if k in before}  # two cases


def test_a_full_disk_is_one_line_and_nothing_half_written(scans, copy, monkeypatch, capsys):
    import numpy as np

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    for path in clisc(copy).glob("stages/*/masks.npz"):
        path.unlink()
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", full)
        assert convert(scans, copy, "--continue", "--report", str(copy / "end.json")) == 5
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(error) == 1
    assert "No space left on device" in error[0] and "--continue" in error[0]
    assert not list(clisc(copy).glob("stages/**/.*"))
    assert json.loads((copy / "end.json").read_text())["status"] == "cannot write"


def test_report_of_a_run_and_of_a_mistake(scans, copy, tmp_path):
    assert convert(scans, copy, "--continue", "--report", str(tmp_path / "run.json")) == 0
    report = json.loads((tmp_path / "run.json").read_text())
    assert (report["status"], report["exit_status"]) == ("done", 0)
    assert report["counts"]["cases"] == len(report["cases"]) == 3
    assert report["counts"]["labelled"] == len(labels(copy))
    assert convert(tmp_path / "no", copy, "--report", str(tmp_path / "bad.json")) == 2
    report = json.loads((tmp_path / "bad.json").read_text())
    assert report["status"] == "bad input"
    assert report["error"]["found"] == "no such folder"


def test_a_dry_run_reports_and_writes_nothing(scans, copy, tmp_path, capsys):
    assert convert(scans, tmp_path / "new", "--dry-run") == 0
    out = capsys.readouterr().out
    for line in ("BraTS-like folder of 3 cases", "phantom_0002", "Dataset501_CLISC: new"):
        assert line in out
    assert not (tmp_path / "new").exists()
    before = sorted(copy.rglob("*"))
    assert convert(scans, copy, "--dry-run", "--continue") == 0
    out = capsys.readouterr().out
    assert "masks: 3 of 3 cases" in out and "MB free" in out
    assert sorted(copy.rglob("*")) == before
    assert convert(scans, copy, "--dry-run") == 2  # as for the call itself


def test_cases_that_are_left_out_later_leave_the_dataset(scans, unbroken, copy, tmp_path):
    gone, stays = sorted(labels(unbroken))[:2]
    assert convert(scans, copy, "--continue", "--leave-out", gone.removesuffix(".nii.gz")) == 0
    assert gone not in labels(copy) and stays in labels(copy)
    dataset = copy / "Dataset501_CLISC"
    images = sorted(path.name for path in (dataset / "imagesTr").iterdir())
    assert [name.replace("_0000", "") for name in images] == sorted(labels(copy))
    assert json.loads((dataset / "dataset.json").read_text())["numTraining"] == len(images)


def test_a_case_that_comes_in_before_the_first_training_is_learnt_from_once(
    scans, tmp_path, capsys
):
    folder = shutil.copytree(scans, tmp_path / "scans")
    flair = folder / "phantom_0001" / "phantom_0001_flair.nii.gz"
    content = flair.read_bytes()
    flair.write_bytes(content[: len(content) // 2])
    assert convert(folder, tmp_path, "--stage", "slices") == 3
    flair.write_bytes(content)
    assert convert(folder, tmp_path, "--stage", "slices", "--retry-failed") == 0
    assert convert(folder, tmp_path, "--stage", "classifier") == 0
    capsys.readouterr()
    assert convert(folder, tmp_path, "--stage", "regions") == 0
    assert "raw classifier: kept" in capsys.readouterr().out


def test_further_channels_are_checked_again_when_they_change(scans, tmp_path, capsys):
    folder = tmp_path / "scans"
    for case in sorted(scans.iterdir()):
        shutil.copytree(case, folder / case.name)
        flair = folder / case.name / f"{case.name}_flair.nii.gz"
        shutil.copy(flair, flair.with_name(f"{case.name}_t1.nii.gz"))

    def cut():
        status = convert(folder, tmp_path, "--channels", "flair", "t1", "--stage", "slices")
        return status, "".join(capsys.readouterr())

    assert cut()[0] == 0
    status, said = cut()
    assert status == 0 and "slices: 3 of 3 kept" in said and "channels: 3 of 3 kept" in said
    t1 = folder / "phantom_0001" / "phantom_0001_t1.nii.gz"
    image = sitk.ReadImage(str(t1))
    sitk.WriteImage(image * 2, str(t1))
    status, said = cut()
    assert status == 0 and "slices: 3 of 3 kept" in said
    assert "channels: 2 of 3 kept; 1 made again (other inputs)" in said
    image.SetOrigin((9.0, 9.0, 9.0))
    sitk.WriteImage(image, str(t1))
    status, said = cut()
    assert status == 3 and "phantom_0001_t1.nii.gz: found a grid of" in said
    sitk.WriteImage(image * 0, str(t1))
    status, said = cut()
    assert status == 3 and "phantom_0001_t1.nii.gz: found a constant volume" in said


def test_a_scan_that_vanishes_at_the_end_skips_its_case(
    scans, unbroken, copy, monkeypatch, tmp_path, capsys
):
    from clisc_nnunet.dataset_conversion import conversion

    folder = shutil.copytree(scans, tmp_path / "scans")
    lost = sorted(labels(unbroken))[0].removesuffix(".nii.gz")
    flair = folder / lost / f"{lost}_flair.nii.gz"

    def place_too_late(*args, **options):
        flair.unlink()
        return place_cases(*args, **options)

    place_cases = conversion.place_cases
    with monkeypatch.context() as patch:
        patch.setattr(conversion, "place_cases", place_too_late)
        assert convert(folder, copy, "--continue") == 3
    assert f"{lost}_flair.nii.gz: found No such file" in capsys.readouterr().err
    others = {k: v for k, v in labels(unbroken).items() if not k.startswith(lost)}
    assert labels(copy) == others
    dataset = clisc(copy).parent
    images = sorted(path.name for path in (dataset / "imagesTr").iterdir())
    assert images == [name.replace(".nii.gz", "_0000.nii.gz") for name in others]
    assert json.loads((dataset / "dataset.json").read_text())["numTraining"] == len(others)
    assert f"{lost},failed," in (clisc(copy) / "cases.csv").read_text()
    shutil.copy(scans / lost / flair.name, flair)
    assert convert(folder, copy, "--retry-failed") == 0
    assert labels(copy) == labels(unbroken)


def test_settings_for_the_trainer_stay_in_dataset_json(scans, copy, capsys):
    path = copy / "Dataset501_CLISC" / "dataset.json"
    content = json.loads(path.read_text())
    content["clisc"]["trainer"] = {"rounds": [0.4, 0.7]}
    path.write_text(json.dumps(content))
    assert convert(scans, copy, "--continue") == 0
    assert json.loads(path.read_text()) == content
    path.write_text("{")
    capsys.readouterr()
    assert convert(scans, copy, "--continue") == 2
    shown = capsys.readouterr()
    assert "expected a JSON object" in shown.err and "slices" not in shown.out
