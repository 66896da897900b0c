"""A complete conversion with phantoms, and what changes when their number does."""

import csv
import json

import pytest
from helpers.quick import convert, labels

from clisc_nnunet.cli.make_phantoms import main as make_phantoms
from clisc_nnunet.dataset_conversion import added_phantoms
from clisc_nnunet.phantoms.anatomy import mni152_anatomy

pytestmark = pytest.mark.slow


def test_phantoms_are_added_and_removed_beside_the_scans(tmp_path, monkeypatch, capsys):
    anatomy = mni152_anatomy(5.0)  # takes a tenth of the time
    monkeypatch.setattr(added_phantoms, "_anatomy", lambda: anatomy)
    made, raw = tmp_path / "made", tmp_path / "raw"
    assert make_phantoms(["-o", str(made), "-n", "2", "--spacing", "3", "--seed", "5"]) == 0
    scans = tmp_path / "scans"
    scans.mkdir()
    for number, case in enumerate(sorted((made / "images").iterdir())):
        (case / f"{case.name}_flair.nii.gz").rename(scans / f"scan_{number}.nii.gz")
    several = ["--channels", "flair", "t1", "--add-phantoms", "3"]
    assert convert(scans, raw, *several) == 2
    assert not raw.exists()
    capsys.readouterr()

    def state():
        dataset = raw / "Dataset501_CLISC"
        content = json.loads((dataset / "dataset.json").read_text())
        with (dataset / "clisc" / "cases.csv").open() as file:
            rows = list(csv.DictReader(file))
        run = json.loads((dataset / "clisc" / "run.json").read_text())
        of_scans = {k: v for k, v in labels(raw).items() if k.startswith("scan")}
        phantoms = sorted(set(labels(raw)) - set(of_scans))
        return dataset, content, rows, run, of_scans, phantoms

    assert convert(scans, raw) == 0
    dataset, without, rows, _, first, phantoms = state()
    assert phantoms == [] and "phantoms" not in without["clisc"]

    assert convert(scans, raw, "--continue", "--add-phantoms", "3") == 0
    assert "2 cases:" in (text := capsys.readouterr().out)
    assert "beside them 3 phantoms, 1 of them without a tumour" in text
    _, content, more, run, again, phantoms = state()
    names = [f"phantom_000{k}" for k in (1, 2, 3)]
    assert phantoms == [f"{name}.nii.gz" for name in names]
    assert again == first
    assert content["numTraining"] == without["numTraining"] + 3
    assert content["clisc"]["phantoms"] == names
    assert more[: len(rows)] == rows
    assert [(row["case"], row["status"]) for row in more[len(rows) :]] == [
        (name, "phantom") for name in names
    ]
    assert [record["case"] for record in run["phantoms"]] == names
    page = (dataset / "clisc" / "report.html").read_text(encoding="utf-8")
    assert "3 phantoms in the dataset" in page
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    verify_dataset_integrity(str(dataset), num_processes=1)

    # Without the option they stay; with 0 they go, and nothing else does.
    assert convert(scans, raw, "--continue") == 0
    assert state()[1:3] == (content, more)
    assert convert(scans, raw, "--continue", "--add-phantoms", "0") == 0
    _, content, last, _, again, phantoms = state()
    assert (content, last, again, phantoms) == (without, rows, first, [])
    assert not (dataset / "clisc" / "phantoms.txt").exists()
    assert sorted(p.name for p in (dataset / "imagesTr").iterdir()) == [
        f"{label.removesuffix('.nii.gz')}_0000.nii.gz" for label in first
    ]
