"""The ablation with a stand-in for the conversion; the conversion itself has tests of its own."""

import csv
import io
import json

import numpy as np
import pytest
from helpers.finished import SCAN, SHAPE, FinishedCase, block, on_scan, write_finished

from benchmarks import ablation
from benchmarks.ablation import DEFAULT, VARIANTS, Result, link_stages, main, table
from benchmarks.perfect_labels import perfect_labels
from clisc_nnunet.dataset_conversion.conversion import ConversionOptions, chosen_settings
from clisc_nnunet.io.volume import write_volume
from clisc_nnunet.pipeline.result_cache import ResultCache
from clisc_nnunet.settings import Settings

TRUTH = block(slice(2, 5), slice(2, 10), slice(3, 13))
HALF = block(slice(2, 5), slice(2, 6), slice(3, 13))
EMPTY = np.zeros(SHAPE, bool)
CASES = ("one", "two")


@pytest.fixture
def folders(tmp_path):
    scan = np.random.default_rng(0).normal(100, 9, SHAPE).astype(np.float32)
    for case in CASES:
        write_volume(tmp_path / "scans" / f"{case}.nii.gz", scan, SCAN)
        write_volume(tmp_path / "refs" / f"{case}.nii.gz", on_scan(TRUTH), SCAN)
    write_volume(tmp_path / "refs" / "of_another_scan.nii.gz", on_scan(TRUTH), SCAN)
    return tmp_path


@pytest.fixture
def conversions(monkeypatch):
    """Calls of the conversion; `amda-off` gives half a label and none for case two."""
    calls = []

    def convert(argv):
        calls.append(argv)
        out = ablation.Path(argv[argv.index("-o") + 1]) / "Dataset501_CLISC"
        off = "masking.mode=off" in argv
        label = {"one": HALF if off else TRUTH, "two": EMPTY if off else TRUTH}
        cases = {
            case: FinishedCase(TRUTH, TRUTH, label[case], np.full(8, 0.5), np.zeros(8, int))
            for case in CASES
        }
        write_finished(out, cases, failed="broken")
        return 0

    monkeypatch.setattr(ablation, "make_pseudo_dataset", convert)
    return calls


def run(folders, *options):
    where = ["-i", str(folders / "scans"), "-r", str(folders / "refs"), "-o", str(folders / "out")]
    return main([*where, *options])


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_a_change_of_settings_that_exist(name):
    changed = chosen_settings(
        ConversionOptions(ablation.Path(), 501, overrides=VARIANTS[name].options)
    )
    same = changed == Settings()
    assert same == (name == DEFAULT or VARIANTS[name].perfect_labels)


def test_variants_are_compared_with_the_default(folders, conversions, capsys):
    assert run(folders, "--arms", "amda-off") == 0
    lines = capsys.readouterr().out.splitlines()
    default, off = (next(x for x in lines if x.startswith(f"| {a}")) for a in (DEFAULT, "amda-off"))
    assert "| 1.000 | 1.000 (one) |" in default
    # Case two has no label: its Dice is 0, not left out.
    assert f"| 2 | {1 / 3:.3f} | 0.000 (two) | -0.667 |" in off
    assert "-1.000 (two)" in off


def test_what_is_finished_is_not_recomputed(folders, conversions):
    assert run(folders, "--arms", "amda-off") == 0
    assert len(conversions) == 2
    assert run(folders, "--arms", "amda-off", "margin-0") == 0
    assert len(conversions) == 3
    assert "prompts.margin=0" in conversions[-1]


def test_no_time_no_work(folders, conversions, capsys):
    assert run(folders, "--minutes", "0") == 0
    assert conversions == []
    assert "not finished" in capsys.readouterr().out


def test_stages_of_the_default_are_there_for_others_but_not_changed_by_them(tmp_path):
    case = FinishedCase(TRUTH, TRUTH, TRUTH, np.full(8, 0.5), np.zeros(8, int))
    source = write_finished(tmp_path / "a", {"one": case}, failed="broken")
    link_stages(source, tmp_path / "b")
    kept = source / "clisc" / "stages" / "one" / "slices.npz"
    linked = tmp_path / "b" / "clisc" / "stages" / "one" / "slices.npz"
    before = kept.read_bytes()
    assert linked.read_bytes() == before
    # The store replaces files: a link to the old one keeps what it had.
    ResultCache(tmp_path / "b" / "clisc" / "stages").save(
        "one", "slices", "new", {"x": np.zeros(1)}
    )
    assert kept.read_bytes() == before


def test_slice_labels_without_a_mistake(folders, conversions):
    assert run(folders, "--arms", "perfect-slice-labels") == 0
    call = conversions[-1]
    written = ablation.Path(call[call.index("--slice-labels") + 1]).read_text()
    rows = list(csv.DictReader(io.StringIO(written)))
    tumour = {row["plane"] for row in rows if row["label"] == "tumour"}
    assert tumour == {"2", "3", "4"}
    assert {row["case"] for row in rows} == set(CASES)
    again = perfect_labels(folders / "out" / "default_seed0" / "Dataset501_CLISC", folders / "refs")
    assert list(csv.DictReader(io.StringIO(again))) == rows


def test_a_little_tumour_makes_a_plane_unsure(folders, conversions):
    assert run(folders, "--arms", DEFAULT) == 0
    speck = TRUTH.copy()
    speck[6, 10, 10:14] = True  # 9 square mm
    write_volume(folders / "refs" / "one.nii.gz", on_scan(speck), SCAN)
    text = perfect_labels(folders / "out" / "default_seed0" / "Dataset501_CLISC", folders / "refs")
    assert "one,6,unsure" in text
    assert "two,6,normal" in text


def test_a_variant_without_any_label_counts_as_empty_masks(folders, monkeypatch, capsys):
    monkeypatch.setattr(ablation, "make_pseudo_dataset", lambda argv: 4)
    assert run(folders, "--arms", DEFAULT) == 0
    record = json.loads((folders / "out" / "default_seed0" / "evaluation.json").read_text())
    assert [row["dice"] for row in record["cases"]] == [0, 0]
    assert record["empty"]["prediction"] == ["one", "two"]


def test_a_broken_conversion_ends_it(folders, monkeypatch):
    monkeypatch.setattr(ablation, "make_pseudo_dataset", lambda argv: 130)
    assert run(folders, "--arms", DEFAULT) == 130
    assert not (folders / "out" / "default_seed0" / "evaluation.json").exists()


def test_a_scan_without_reference_is_reported(folders, conversions, capsys):
    (folders / "refs" / "two.nii.gz").unlink()
    assert run(folders) == 2
    assert "no reference for two" in capsys.readouterr().err


def test_seeds_are_averaged_by_case():
    default = {0: Result({"a": 0.5, "b": 0.7}), 1: Result({"a": 0.7, "b": 0.9}, 2, 1)}
    text = table({DEFAULT: default, "arm": {1: Result({"a": 0.8, "b": 0.9}, 2, 0)}})
    assert "| default | 0 1 | 2 | 0.700 |" in text
    assert "| 1 of 2 |" in text
    # Only seed 1 is there for both.
    assert "| arm | 1 | 2 | 0.850 | 0.800 (a) | +0.050 |" in text
    assert "| 0 of 2 |" in text


def test_cases_without_a_tumour_are_counted_apart(folders, conversions, capsys):
    write_volume(folders / "refs" / "one.nii.gz", on_scan(EMPTY), SCAN)
    assert run(folders, "--arms", "amda-off") == 0
    lines = capsys.readouterr().out.splitlines()
    default, off = (next(x for x in lines if x.startswith(f"| {a}")) for a in (DEFAULT, "amda-off"))
    assert "| 1 | 1.000 | 1.000 (two) |" in default
    assert default.endswith("| 1 of 1 |")
    assert "| 1 | 0.000 | 0.000 (two) | -1.000 |" in off
