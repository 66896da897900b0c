import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.cases import extract_into

from clisc_nnunet.cli.estimate_quality import main
from clisc_nnunet.io.volume import Geometry, write_volume
from clisc_nnunet.models.sam import SamModel, load_sam
from clisc_nnunet.pipeline.result_cache import Fingerprint, ResultCache
from clisc_nnunet.quality_control.score_predictions import dataset_json, find_predictions
from clisc_nnunet.settings import Settings

FAST = ["--looks", "axial", "--repeats", "2", "-device", "cpu", "-np", "1"]


@pytest.fixture
def folders(head, tmp_path):
    """Three scans of one head; a good, a misplaced and an empty prediction."""
    volume, blob = head
    masks = {"good": blob, "moved": np.roll(blob, -25, axis=1), "none": np.zeros_like(blob)}
    for name, mask in masks.items():
        scan = tmp_path / "images" / f"{name}_0000.nii.gz"
        write_volume(scan, volume.array, volume.geometry)
        write_volume(tmp_path / "predictions" / f"{name}.nii.gz", mask, volume.geometry)
    settings = {"slices": {"plane_mm": 8.0}}
    text = json.dumps({"clisc": {"settings": settings}})
    (tmp_path / "predictions" / "dataset.json").write_text(text)
    return tmp_path


def call(folders, *options):
    images, predictions = folders / "images", folders / "predictions"
    return main(["-i", str(images), "-p", str(predictions), *FAST, *options])


def result(folder):
    return json.loads((folder / "quality.json").read_text(encoding="utf-8"))


def test_ranks_the_cases_of_nnunets_folders(folders, capsys):
    assert call(folders) == 0
    out = folders / "predictions" / "quality"
    files = ["judged", "quality.csv", "quality.html", "quality.json"]
    assert sorted(p.name for p in out.iterdir()) == files
    found = result(out)
    assert [case["case"] for case in found["cases"]] == ["none", "moved", "good"]
    assert found["cases"][0]["status"] == "empty"
    assert found["cases"][2]["similarity"] > 0.6
    assert found["sam"]["name"] == "bundled" and found["images_without_prediction"] == []
    assert "3 predictions: 2 scored, 1 empty, 0 failed" in capsys.readouterr().out
    page = (out / "quality.html").read_text(encoding="utf-8")
    assert page.index("1. none") < page.index("2. moved") < page.index("3. good")
    # The results are beside the predictions, and must not count as one.
    assert call(folders, "-np", "2", "-o", str(folders / "again")) == 0
    assert result(folders / "again")["cases"] == found["cases"]


def test_an_earlier_estimate_is_brought_up_to_date_only_on_request(folders, head, capsys):
    volume, blob = head
    out = folders / "predictions" / "quality"
    assert call(folders) == 0
    before = (out / "quality.json").read_bytes()
    assert call(folders) == 2
    assert "found an earlier estimate" in (error := capsys.readouterr().err)
    assert "use --continue" in error
    assert (out / "quality.json").read_bytes() == before
    write_volume(folders / "predictions" / "moved.nii.gz", blob, volume.geometry)
    assert call(folders, "--continue") == 0
    assert "quality: 2 of 3 kept; 1 made again (other inputs)" in capsys.readouterr().out
    found = result(out)
    assert found["taken_over"] == 2
    by_case = {case["case"]: case for case in found["cases"]}
    assert by_case["moved"]["similarity"] == by_case["good"]["similarity"]
    # Equal to an estimate in one go, including the page and its pictures.
    assert call(folders, "-o", str(folders / "again")) == 0
    assert result(folders / "again")["cases"] == found["cases"]
    pages = [(f / "quality.html").read_text(encoding="utf-8") for f in (out, folders / "again")]
    articles = [page[page.index("<article>") : page.rindex("</article>")] for page in pages]
    assert articles[0] == articles[1] and articles[0].count("<image") >= 3


def test_the_same_file_taken_for_another_sam_scores_again(folders, monkeypatch, capsys):
    assert call(folders) == 0
    monkeypatch.setattr(SamModel, "identity", "the same file, normalised otherwise")
    assert call(folders, "--continue") == 0
    assert "quality: 0 of 3 kept; 3 made again (other weights)" in capsys.readouterr().out


def test_the_sam_of_the_labels_is_found_by_the_datasets_record(
    folders, sam_file, monkeypatch, capsys
):
    drew = load_sam(str(sam_file), torch.device("cpu"))
    made = {"sam": {"name": "mine.pth", "sha256": drew.sha256}}
    made["settings"] = {"slices": {"plane_mm": 8.0}}
    (folders / "predictions" / "dataset.json").write_text(json.dumps({"clisc": made}))
    assert call(folders) == 2
    assert "mine.pth: found no such file" in (error := capsys.readouterr().err)
    assert error.endswith("--sam FILE\n") and error.count("\n") == 1
    # As written by nnU-Net beside predictions.
    (folders / "predictions" / "plans.json").write_text('{"dataset_name": "Dataset501_CLISC"}')
    record = folders / "raw" / "Dataset501_CLISC" / "clisc" / "run.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"models": {"sam": {"name": str(sam_file)}}}))
    monkeypatch.setenv("nnUNet_raw", str(folders / "raw"))
    assert call(folders) == 0
    assert result(folders / "predictions" / "quality")["sam"]["name"] == str(sam_file)


@pytest.mark.slow
def test_killed_at_any_moment_it_resumes(folders):
    assert call(folders, "-o", str(folders / "unbroken")) == 0
    out, rng = folders / "out", random.Random(os.getpid())
    where = ["-i", str(folders / "images"), "-p", str(folders / "predictions"), "-o", str(out)]
    command = [
        sys.executable,
        "-m",
        "clisc_nnunet.cli.estimate_quality",
        *where,
        *FAST,
        "--continue",
    ]
    for count in (1, 2):
        process = subprocess.Popen(
            command,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None and len(list(out.glob("judged/*/quality.npz"))) < count:
            time.sleep(0.01)
        time.sleep(rng.random() * 0.3)  # at a random point of the next step
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert call(folders, "-o", str(out), "--continue") == 0
    assert result(out)["taken_over"] >= 2
    csv = [(folder / "quality.csv").read_bytes() for folder in (out, folders / "unbroken")]
    assert csv[0] == csv[1]


def test_what_is_interrupted_says_how_to_go_on(folders, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(
        "clisc_nnunet.quality_control.score_predictions.ScoreCache.score", interrupt
    )
    assert call(folders) == 130
    assert "--continue to resume" in capsys.readouterr().err


def test_what_cannot_be_scored_is_skipped(folders, head, capsys):
    volume, blob = head
    predictions = folders / "predictions"
    shifted = Geometry((70, 80, 60), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), volume.geometry.direction)
    write_volume(predictions / "moved.nii.gz", blob, shifted)
    write_volume(predictions / "unknown.nii.gz", blob, volume.geometry)
    (predictions / "none.nii.gz").write_bytes(b"cut")
    out = folders / "elsewhere"
    assert call(folders, "-o", str(out)) == 3
    cases = {case["case"]: case for case in result(out)["cases"]}
    assert cases["good"]["rank"] == 1
    assert "resample it" in cases["moved"]["reason"]
    assert "no scan of this name" in cases["unknown"]["reason"]
    assert "cannot be read" in cases["none"]["reason"]
    assert "not scored: unknown" in capsys.readouterr().out


def test_training_images_are_shown_as_the_converter_saw_them(folders, head):
    settings = replace(Settings().slices, plane_mm=8.0)
    images = (folders / "images").rename(folders / "imagesTr")
    cache, scan = ResultCache(folders / "clisc" / "stages"), images / "good_0000.nii.gz"
    extract_into(cache, "good", scan, settings, Fingerprint("scan", settings))
    predictions = folders / "predictions"
    (predictions / "moved.nii.gz").unlink()
    common = ["-i", str(images), "-p", str(predictions), *FAST]
    assert main(common) == 0
    assert result(predictions / "quality")["cases_on_the_slices_of_their_labels"] == 1


def several_channels(folders, head, changes):
    """Each scan becomes channel 1, beside a scan without a tumour as channel 0."""
    images = folders / "images"
    for scan in sorted(images.iterdir()):
        scan.rename(images / scan.name.replace("_0000", "_0001"))
        write_volume(scan, np.where(head[1], 100.0, head[0].array), head[0].geometry)
    path = folders / "predictions" / "dataset.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


@pytest.mark.parametrize(
    ("names", "alone"), [(("T1", "FLAIR"), True), (("FLAIR", "T2"), False), (("T1", "ASL"), True)]
)
def test_the_channel_that_labels_were_drawn_on_is_judged(folders, head, names, alone):
    several_channels(folders, head, {"channel_names": {str(n): v for n, v in enumerate(names)}})
    path = folders / "predictions" / "dataset.json"
    content = json.loads(path.read_text())
    content["clisc"]["prompt_channel"] = 1
    path.write_text(json.dumps(content))
    if alone:  # one case, whose channels could be separate scans by their names
        for scan in [*folders.rglob("moved*.nii.gz"), *folders.rglob("none*.nii.gz")]:
            scan.unlink()
    assert call(folders) == 0
    cases = result(folders / "predictions" / "quality")["cases"]
    assert len(cases) == (1 if alone else 3)
    assert cases[-1]["case"] == "good" and cases[-1]["similarity"] > 0.6


def test_the_channel_may_be_given(folders, head, capsys):
    several_channels(folders, head, {})
    assert call(folders) == 2
    assert "such as --channels flair=0003" in capsys.readouterr().err
    assert call(folders, "--channels", "flair=0001") == 0
    good = result(folders / "predictions" / "quality")["cases"][-1]
    assert good["case"] == "good" and good["similarity"] > 0.6
    assert call(folders, "--channels", "flair=0001", "--prompt-channel", "t2") == 2
    assert "--prompt-channel: found t2," in capsys.readouterr().err


def test_given_brain_masks_take_the_place_of_extraction(folders, head, capsys):
    assert call(folders, "--brain-mask", str(folders / "nowhere")) == 2
    assert "nowhere: found no such folder; expected brain masks" in capsys.readouterr().err
    write_volume(folders / "masks" / "good.nii.gz", head[0].array > 0, head[0].geometry)
    assert call(folders, "--brain-mask", str(folders / "masks")) == 3
    cases = {c["case"]: c for c in result(folders / "predictions" / "quality")["cases"]}
    assert cases["good"]["status"] == "judged"
    assert "moved.nii.gz: found no such file" in cases["moved"]["reason"]


def test_phantoms_of_a_dataset_are_not_judged(folders):
    dataset = folders / "Dataset501_CLISC"
    (dataset / "clisc").mkdir(parents=True)
    (folders / "images").rename(dataset / "imagesTr")
    (dataset / "clisc" / "phantoms.txt").write_text("moved\n")
    options = ["-i", str(dataset / "imagesTr"), "-p", str(folders / "predictions"), *FAST]
    assert main(options) == 0
    found = result(folders / "predictions" / "quality")
    assert [case["case"] for case in found["cases"]] == ["none", "good"]
    assert found["phantoms_not_scored"] == 1


def test_images_without_a_prediction_are_counted(folders):
    (folders / "predictions" / "moved.nii.gz").unlink()
    assert call(folders) == 0
    assert result(folders / "predictions" / "quality")["images_without_prediction"] == ["moved"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-np", "0"], "-np: found 0"),
        (["--repeats", "1"], "--repeats and --jitter: found 1 and 0.05"),
        (["--jitter", "nan"], "--repeats and --jitter: found 5 and nan"),
        (["--sam", "none.pth"], "neither a known sam nor a file"),
        (["-p", "nowhere"], "nowhere: found no such folder; expected a folder of predictions"),
    ],
)
def test_mistakes_are_reported(folders, capsys, options, message):
    images, predictions = str(folders / "images"), str(folders / "predictions")
    assert main(["-i", images, "-p", predictions, *options]) == 2
    assert message in capsys.readouterr().err


def test_names_that_fit_nowhere_are_reported(folders, capsys):
    for path in (folders / "predictions").glob("*.nii.gz"):
        path.rename(path.with_name(f"pred_{path.name}"))
    assert call(folders) == 2
    assert "no prediction for any scan" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_reported_first(folders, capsys):
    (folders / "file").write_text("")
    assert call(folders, "-o", str(folders / "file" / "out")) == 2
    assert "expected a writable folder" in capsys.readouterr().err


def test_two_predictions_for_a_case_are_reported(tmp_path):
    from clisc_nnunet.errors import UserError

    for name in ("a.nii.gz", "a.mha", "plans.json"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=r"two predictions for a \(a.mha, a.nii.gz\)"):
        find_predictions(tmp_path)
    (tmp_path / "a.mha").unlink()
    assert list(find_predictions(tmp_path)) == ["a"]


def test_the_dataset_json_of_labels_lies_beside_their_folder(tmp_path):
    labels = tmp_path / "labelsTr"
    labels.mkdir()
    assert dataset_json(labels) == {}
    (tmp_path / "dataset.json").write_text('{"clisc": {"sam": {"name": "x"}}}')
    assert dataset_json(labels)["clisc"]["sam"]["name"] == "x"
    # A dataset.json of other software is ignored, and does not hide another one.
    (labels / "dataset.json").write_text('{"labels": {}}')
    assert dataset_json(labels)["clisc"]["sam"]["name"] == "x"
