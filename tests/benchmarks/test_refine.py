"""Network, SAM redrawn and both averaged, on one small head."""

import numpy as np
import pytest

from benchmarks.refine import METHODS, logit, main, table
from clisc_nnunet.io.volume import write_volume


def test_logits_are_in_the_range_of_sams():
    assert logit(np.array([0.5]))[0] == 0
    assert logit(np.array([0.0, 1.0])).tolist() == [-10, 10]
    assert logit(np.array([0.75]))[0] == pytest.approx(np.log(3))


def test_the_table_compares_with_the_network():
    scores = {m: {"a": 0.5 + 0.1 * n, "b": 0.7 - 0.1 * n} for n, m in enumerate(METHODS)}
    rows = table(scores).splitlines()
    assert rows[2].startswith("| network | 0.600") and "| 0.500 | +0.000 |" in rows[2]
    assert rows[4].startswith("| averaged | 0.600") and "-0.200 (b)" in rows[4]


def test_prints_a_row_for_each_method(head, tmp_path, capsys):
    volume, blob = head
    write_volume(tmp_path / "scans" / "one.nii.gz", volume.array, volume.geometry)
    write_volume(tmp_path / "references" / "one.nii.gz", blob, volume.geometry)
    call = ["-i", str(tmp_path / "scans"), "-r", str(tmp_path / "references"), "--looks", "axial"]
    assert main([*call, "-device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert all(f"| {method} |" in printed for method in METHODS) and "1 scans" in printed


def test_a_reference_that_is_missing_is_reported(head, tmp_path, capsys):
    volume, _ = head
    write_volume(tmp_path / "scans" / "one.nii.gz", volume.array, volume.geometry)
    assert main(["-i", str(tmp_path / "scans"), "-r", str(tmp_path), "-device", "cpu"]) == 2
    assert "one.nii.gz" in capsys.readouterr().err
