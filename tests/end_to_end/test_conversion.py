"""Complete conversions of phantoms with the command; labels beside the scans are never read."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import SimpleITK as sitk
from helpers.names import MASK_NAMES, OTHER_NAMES

import clisc_nnunet
from clisc_nnunet.cli.make_phantoms import main as make_phantoms
from clisc_nnunet.dataset_conversion.make_pseudo_dataset import main
from clisc_nnunet.io.hashing import file_sha256

pytestmark = pytest.mark.slow

# Thick planes and few epochs run the same stages in less time.
QUICK = [
    "--set", "slices.plane_mm=6", "--set", "classifier.epochs=2",
    "--set", "cam.layer=layer2", "--set", "roi.threshold=0.3",
    "-np", "1", "-device", "cpu",
]  # fmt: skip
PACKAGE = Path(clisc_nnunet.__file__).parent


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    assert make_phantoms(["-o", str(folder), "-n", "3", "--spacing", "3", "--seed", "5"]) == 0
    return folder


@pytest.fixture(scope="module")
def dataset(phantoms, tmp_path_factory):
    root = tmp_path_factory.mktemp("raw")
    call = ["-i", str(phantoms / "images"), "-d", "501", "-o", str(root), *QUICK]
    assert main(call) == 0
    return root / "Dataset501_CLISC"


def test_dataset_is_complete(dataset):
    content = json.loads((dataset / "dataset.json").read_text())
    labels = sorted((dataset / "labelsTr").glob("*.nii.gz"))
    images = sorted((dataset / "imagesTr").glob("*.nii.gz"))
    assert content["labels"] == {"background": 0, "tumour": 1}
    assert len(labels) == len(images) == content["numTraining"] >= 1
    for image, label in zip(images, labels, strict=True):
        scan, drawn = sitk.ReadImage(str(image)), sitk.ReadImage(str(label))
        assert drawn.GetSize() == scan.GetSize()
        assert drawn.GetOrigin() == pytest.approx(scan.GetOrigin())
        assert drawn.GetDirection() == pytest.approx(scan.GetDirection())
        assert set(sitk.GetArrayFromImage(drawn).ravel().tolist()) <= {0, 1}
    for name in ("settings.json", "run.json", "cases.csv", "slice_labels.csv", "overview.png"):
        assert (dataset / "clisc" / name).stat().st_size > 100


def test_dataset_passes_nnunets_own_check(dataset, monkeypatch):
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    verify_dataset_integrity(str(dataset), num_processes=1)


def test_no_path_of_the_user_in_dataset_json(dataset, phantoms):
    text = (dataset / "dataset.json").read_text()
    assert str(phantoms) not in text
    assert str(dataset.parent) not in text


def test_report_has_a_line_per_case(dataset, phantoms):
    with (dataset / "clisc" / "cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == sorted(p.name for p in (phantoms / "images").iterdir())
    assert all(row["reason"] for row in rows)


def test_reads_scans_only(dataset, phantoms):
    read = json.loads((dataset / "clisc" / "run.json").read_text())["files_read"]
    assert read == sorted(str(p) for p in (phantoms / "images").glob("*/*_flair.nii.gz"))


def test_report_page_shows_every_case(dataset, phantoms):
    page = (dataset / "clisc" / "report.html").read_text(encoding="utf-8")
    assert "Dataset501_CLISC" in page
    for case in (phantoms / "images").iterdir():
        assert f'data-name="{case.name}"' in page


def test_every_label_has_a_sidecar_where_nnunet_does_not_read(dataset, phantoms):
    labels = {p.name.removesuffix(".nii.gz"): p for p in (dataset / "labelsTr").iterdir()}
    sidecars = {p.stem: p for p in (dataset / "clisc" / "sidecars").iterdir()}
    assert sidecars.keys() == labels.keys()
    for case, path in sidecars.items():
        content = json.loads(path.read_text(encoding="utf-8"))
        scan = phantoms / "images" / case / f"{case}_flair.nii.gz"
        assert content["LabelSha256"] == file_sha256(labels[case])
        assert content["SourcesSha256"] == [file_sha256(scan)]
        assert str(phantoms) not in path.read_text(encoding="utf-8")


def test_poisoned_labels_beside_the_scans_change_nothing(dataset, phantoms, tmp_path):
    scans = tmp_path / "scans"
    shutil.copytree(phantoms / "images", scans)
    for case in scans.iterdir():
        truth = phantoms / "labels" / f"{case.name}.nii.gz"
        shutil.copy(truth, case / f"{case.name}_seg.nii.gz")  # a valid one
        for name in (*MASK_NAMES, *OTHER_NAMES, "x"):
            (case / f"{case.name}_{name}.nii.gz").write_bytes(b"not an image at all")
        (case / "HD-GLIO-AUTO-segmentation").mkdir()
        (case / "HD-GLIO-AUTO-segmentation" / "FLAIR_r2s_bet_reg.nii.gz").write_bytes(b"no image")
    assert main(["-i", str(scans), "-d", "501", "-o", str(tmp_path / "raw"), *QUICK]) == 0
    again = tmp_path / "raw" / "Dataset501_CLISC" / "labelsTr"
    first = {p.name: p.read_bytes() for p in (dataset / "labelsTr").iterdir()}
    assert {p.name: p.read_bytes() for p in again.iterdir()} == first


def test_continue_gives_the_same_bytes_after_a_stop(dataset, phantoms, tmp_path, monkeypatch):
    from clisc_nnunet.pipeline import model_steps

    def stop(*_):
        raise KeyboardInterrupt

    call = ["-i", str(phantoms / "images"), "-d", "501", "-o", str(tmp_path), *QUICK]
    with monkeypatch.context() as patch:
        patch.setattr(model_steps, "segment", stop)
        assert main(call) == 130
    assert main(call) == 2  # refused: an unfinished dataset
    assert main([*call, "--continue"]) == 0
    again = tmp_path / "Dataset501_CLISC" / "labelsTr"
    first = {p.name: p.read_bytes() for p in (dataset / "labelsTr").iterdir()}
    assert {p.name: p.read_bytes() for p in again.iterdir()} == first


def test_given_slice_labels_replace_those_of_clip(dataset, phantoms, tmp_path):
    table = dataset / "clisc" / "slice_labels.csv"
    call = ["-i", str(phantoms / "images"), "-d", "501", "-o", str(tmp_path), *QUICK]
    assert main([*call, "--slice-labels", str(table)]) == 0
    again = tmp_path / "Dataset501_CLISC" / "labelsTr"
    first = {p.name: p.read_bytes() for p in (dataset / "labelsTr").iterdir()}
    assert {p.name: p.read_bytes() for p in again.iterdir()} == first


def test_slice_labels_of_other_slices_skip_their_case(dataset, phantoms, tmp_path, capsys):
    rows = (dataset / "clisc" / "slice_labels.csv").read_text(encoding="utf-8").splitlines()
    rows += ["phantom_0000,900,,,tumour", "elsewhere,3,,,normal"]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(rows), encoding="utf-8-sig")
    call = ["-i", str(phantoms / "images"), "-d", "501", "-o", str(tmp_path), *QUICK]
    assert main([*call, "--slice-labels", str(table), "--stage", "slices"]) == 3
    found = capsys.readouterr()
    assert f"{table}: ignored, since there is no such scan: elsewhere" in found.out
    assert "--slice-labels of phantom_0000: found plane 900; expected planes with" in found.err
    table.write_text("case,plane,label\nelsewhere,3,normal\n", encoding="utf-8")
    assert main([*call, "--slice-labels", str(table), "--continue"]) == 2
    assert f"{table}: found labels of elsewhere" in capsys.readouterr().err


def test_the_papers_preset_runs(phantoms, tmp_path):
    quick = ["--set", "slices.plane_mm=8", "--set", "classifier.epochs=1", "-device", "cpu"]
    call = ["-i", str(phantoms / "images"), "-d", "501", "-o", str(tmp_path), "--preset", "paper"]
    assert main([*call, *quick, "-np", "1"]) == 0
    clisc = tmp_path / "Dataset501_CLISC" / "clisc"
    kept = json.loads((clisc / "settings.json").read_text())
    assert (kept["preset"], kept["slices"]["frame"]) == ("paper", "brain_box")
    trials = json.loads((clisc / "run.json").read_text())["choice"]
    assert {trial["layer"] for trial in trials["raw"]} == {"layer3"}
    assert len({trial["threshold"] for trial in trials["enhanced"]}) == 5


def test_a_broken_scan_is_skipped_and_reported(phantoms, tmp_path, capsys):
    scans = tmp_path / "scans"
    shutil.copytree(phantoms / "images", scans)
    broken = scans / "phantom_0000" / "phantom_0000_flair.nii.gz"
    broken.write_bytes(broken.read_bytes()[:2000])
    assert main(["-i", str(scans), "-d", "7", "-o", str(tmp_path / "raw"), *QUICK]) == 3
    assert "phantom_0000" in capsys.readouterr().err
    with (tmp_path / "raw" / "Dataset007_CLISC" / "clisc" / "cases.csv").open() as file:
        assert {r["case"]: r["status"] for r in csv.DictReader(file)}["phantom_0000"] == "failed"


def test_scans_of_which_none_can_be_read_are_bad_input(tmp_path, capsys):
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.nii.gz").write_bytes(b"cut")
    call = ["-i", str(tmp_path / "scans"), "-d", "7", "-o", str(tmp_path / "raw"), *QUICK]
    assert main([*call, "--report", str(tmp_path / "report.json")]) == 2
    assert "no usable scan among 1" in capsys.readouterr().err
    (case,) = json.loads((tmp_path / "report.json").read_text())["cases"]
    assert (case["case"], case["status"]) == ("a", "failed")


def test_refuses_a_taken_id(dataset, phantoms, capsys):
    call = ["-i", str(phantoms / "images"), "-d", "501", "-o", str(dataset.parent), *QUICK]
    assert main(call) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("roi.treshold=1", "unknown key 'treshold'"),
        ("roi.threshold=high", "threshold = 'high'; expected a"),
        ("preset=[1]", "expected"),
        ("cam.layer=layer9", "cam.layer: found layer9; expected some of layer1"),
    ],
)
def test_wrong_settings_are_reported(phantoms, tmp_path, capsys, option, message):
    call = ["-i", str(phantoms / "images"), "-d", "501", "-o", str(tmp_path), "--set", option]
    assert main(call) == 2
    assert message in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
