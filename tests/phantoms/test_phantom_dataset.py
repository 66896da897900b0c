import functools
import json
from dataclasses import asdict

import pytest
import SimpleITK as sitk

from clisc_nnunet.cli.make_phantoms import main
from clisc_nnunet.phantoms.anatomy import mni152_anatomy
from clisc_nnunet.phantoms.phantom import GENERATOR_VERSION
from clisc_nnunet.phantoms.settings import KINDS, as_record

CALL = ["-n", "2", "--spacing", "5", "--seed", "3"]
_made_once = functools.cache(mni152_anatomy)


@pytest.fixture(autouse=True)
def head_made_once(monkeypatch):
    """Loaded once, as it takes seconds."""
    monkeypatch.setattr("clisc_nnunet.phantoms.phantom_dataset.mni152_anatomy", _made_once)


def _bytes(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.nii.gz")}


def test_layout_and_geometry(tmp_path):
    assert main(["-o", str(tmp_path), *CALL]) == 0
    case = tmp_path / "images" / "phantom_0001" / "phantom_0001_flair.nii.gz"
    scan = sitk.ReadImage(str(case))
    mask = sitk.ReadImage(str(tmp_path / "labels" / "phantom_0001.nii.gz"))
    assert scan.GetSpacing() == mask.GetSpacing() == (5.0, 5.0, 5.0)
    assert scan.GetSize() == mask.GetSize()
    assert scan.GetPixelID() == sitk.sitkInt16
    facts = json.loads((tmp_path / "phantoms.json").read_text())["cases"]
    assert [fact["case"] for fact in facts] == ["phantom_0000", "phantom_0001"]


def test_an_interrupted_call_is_resumed(tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main(["-o", str(whole), *CALL]) == 0
    assert main(["-o", str(stopped), "-n", "1", *CALL[2:]]) == 0
    assert main(["-o", str(stopped), *CALL]) == 0
    assert _bytes(whole) == _bytes(stopped)


def test_other_settings_are_rejected(tmp_path, capsys):
    assert main(["-o", str(tmp_path), *CALL]) == 0
    before = _bytes(tmp_path)
    assert main(["-o", str(tmp_path), *CALL[:-1], "4"]) == 2
    assert (
        "phantoms with seed 3; expected an empty folder, or phantoms with seed 4"
        in capsys.readouterr().err
    )
    assert _bytes(tmp_path) == before


def test_a_smaller_count_keeps_all_phantoms(tmp_path, capsys):
    assert main(["-o", str(tmp_path), *CALL]) == 0
    before = (tmp_path / "phantoms.json").read_bytes()
    assert main(["-o", str(tmp_path), "-n", "1", *CALL[2:]]) == 0
    assert (tmp_path / "phantoms.json").read_bytes() == before
    assert "2 phantoms in" in capsys.readouterr().out
    # Nor does it if the larger call was stopped before it wrote its list.
    recipe = {k: v for k, v in json.loads(before).items() if k != "cases"}
    (tmp_path / "phantoms.json").write_text(json.dumps(recipe))
    assert main(["-o", str(tmp_path), "-n", "1", *CALL[2:]]) == 0
    assert (tmp_path / "phantoms.json").read_bytes() == before


@pytest.fixture
def empty_cases(monkeypatch):
    """Replace phantoms by their facts."""

    def make(folder, number, *_):
        facts = {"case": f"phantom_{number:04d}", "kind": "none"}
        (folder / "facts").mkdir(exist_ok=True)
        (folder / "facts" / f"{facts['case']}.json").write_text(json.dumps(facts))
        return facts

    monkeypatch.setattr("clisc_nnunet.phantoms.phantom_dataset._make_case", make)
    monkeypatch.setattr("clisc_nnunet.phantoms.phantom_dataset.load_anatomies", lambda *_: [])


def test_another_generator_version_is_rejected(tmp_path, capsys, monkeypatch, empty_cases):
    assert main(["-o", str(tmp_path), *CALL]) == 0
    assert json.loads((tmp_path / "phantoms.json").read_text())["drawing"] == GENERATOR_VERSION
    monkeypatch.setattr(
        "clisc_nnunet.phantoms.phantom_dataset.GENERATOR_VERSION", GENERATOR_VERSION + 1
    )
    assert main(["-o", str(tmp_path), *CALL]) == 2
    error = capsys.readouterr().err
    assert f"found phantoms with drawing {GENERATOR_VERSION}; expected an empty folder" in error
    assert f"or phantoms with drawing {GENERATOR_VERSION + 1};" in error


def test_label_maps_are_compared_by_content(tmp_path, capsys, empty_cases):
    for place in ("here", "there", "moved"):
        (tmp_path / place / "MAPS").mkdir(parents=True)
        content = b"other" if place == "there" else b"labels"
        (tmp_path / place / "MAPS" / "brainweb_1.nii.gz").write_bytes(content)
    call = ["-o", str(tmp_path / "PH"), *CALL, "--anatomy"]
    assert main([*call, str(tmp_path / "here" / "MAPS")]) == 0
    assert main([*call, str(tmp_path / "there" / "MAPS")]) == 2
    assert "found phantoms with anatomies.brainweb_1.nii.gz " in capsys.readouterr().err
    assert main([*call, str(tmp_path / "moved" / "MAPS")]) == 0


def test_a_folder_of_other_files_is_rejected(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    assert main(["-o", str(tmp_path), *CALL]) == 2
    assert "other files" in capsys.readouterr().err


def test_out_of_range_is_reported(tmp_path, capsys):
    assert main(["-o", str(tmp_path / "new"), "-n", "1", "--tumour-free", "2"]) == 2
    assert "a share from 0 to 1" in capsys.readouterr().err


def test_kinds_are_reported_apart(tmp_path, capsys):
    folder = tmp_path / "unseen"
    assert main(["-o", str(folder), *CALL, "--kinds", "unseen"]) == 0
    settings = json.loads((folder / "phantoms.json").read_text())["settings"]
    assert settings["scanner"]["thick_slices"] == 1.0
    assert main(["-o", str(folder), *CALL]) == 2
    assert "found phantoms with settings.contrast" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "message"),
    [(["--anatomy", "TYPO"], "no label maps"), (["--seed", "-1"], "0 or more")],
)
def test_a_failed_call_does_not_change_the_folder(tmp_path, capsys, wrong, message):
    folder = tmp_path / "phantoms"
    assert main(["-o", str(folder), *CALL, *wrong]) == 2
    assert message in capsys.readouterr().err
    assert not folder.exists()


@pytest.mark.parametrize("where", ["thesis.txt", "thesis.txt/phantoms"])
def test_a_file_in_the_way_is_reported(tmp_path, capsys, where):
    (tmp_path / "thesis.txt").write_text("mine")
    assert main(["-o", str(tmp_path / where), *CALL]) == 2
    assert "found a file; expected a folder" in capsys.readouterr().err


def test_a_failure_is_reported_immediately(tmp_path, monkeypatch):
    begun = []

    def fail_second(folder, number, *_):
        begun.append(number)
        if number == 1:
            raise ZeroDivisionError
        return {"case": f"phantom_{number:04d}"}

    monkeypatch.setattr("clisc_nnunet.phantoms.phantom_dataset._make_case", fail_second)
    with pytest.raises(ZeroDivisionError):
        main(["-o", str(tmp_path), "-n", "4", *CALL[2:]])
    assert begun == [0, 1]


def test_processes_do_not_affect_the_phantoms(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert main(["-o", str(one), *CALL]) == 0
    assert main(["-o", str(two), *CALL, "-np", "2"]) == 0
    assert _bytes(one) == _bytes(two)
    assert (one / "phantoms.json").read_bytes() == (two / "phantoms.json").read_bytes()


def test_help_says_how_far_apart_seeds_must_be(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "seeds at least N apart" in " ".join(capsys.readouterr().out.split())


def test_phantoms_of_versions_without_lesions_are_kept():
    record = as_record(KINDS["aged"])
    assert "lesions" not in record
    assert record.keys() == asdict(KINDS["aged"]).keys() - {"lesions"}
    assert as_record(KINDS["vascular"]) == asdict(KINDS["vascular"])
