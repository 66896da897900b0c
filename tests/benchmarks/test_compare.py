import json
import math

import pytest

from benchmarks.compare import main, paired, read_evaluation, values
from clisc_nnunet.errors import UserError

NAN = math.nan


def evaluation(path, dice, hd95=None, **others):
    rows = [
        {"case": case, "dice": d, "hd95_mm": (hd95 or {}).get(case), "surface_dice": d,
         "precision": d, "recall": d}
        for case, d in dice.items()
    ]  # fmt: skip
    content = {"labels": "above 0", "tolerance_mm": 1.0, "cases": rows, **others}
    path.write_text(json.dumps(content))
    return path


def test_differences_are_paired():
    first = {"a": 0.5, "b": 0.9, "c": 0.7, "only A": 0.1}
    second = {"c": 0.8, "b": 0.6, "a": 0.9, "only B": 0.1}
    found = paired(first, second, lower_is_better=False)
    assert (found.cases, found.mean) == (3, pytest.approx(0.2 / 3))
    assert (found.first, found.second) == (pytest.approx(0.7), pytest.approx(2.3 / 3))
    assert (found.worst_case, found.worst) == ("b", pytest.approx(-0.3))
    assert found.low < found.mean < found.high


def test_a_constant_shift_is_certain_however_the_cases_scatter():
    first = {str(n): n / 10 for n in range(8)}
    found = paired(first, {c: v + 0.05 for c, v in first.items()}, lower_is_better=False)
    assert found.low == pytest.approx(0.05)
    assert found.high == pytest.approx(0.05)


def test_of_distances_the_largest_growth_is_the_worst():
    found = paired({"a": 1.0, "b": 5.0}, {"a": 4.0, "b": 1.0}, lower_is_better=True)
    assert (found.worst_case, found.worst) == ("a", 3.0)


def test_undefined_cases_are_left_out():
    found = paired({"a": NAN, "b": 0.5}, {"a": 0.9, "b": 0.6}, lower_is_better=False)
    assert found.cases == 1
    nothing = paired({"a": NAN}, {"a": 0.5}, lower_is_better=False)
    assert nothing.cases == 0
    assert math.isnan(nothing.mean)


def test_prints_a_table(tmp_path, capsys):
    a = evaluation(tmp_path / "a.json", {"x": 0.5, "y": 0.7, "z": 0.1}, {"x": 9.0, "y": 3.0})
    b = evaluation(tmp_path / "b.json", {"x": 0.6, "y": 0.9}, {"x": 5.0, "y": 4.0})
    assert main([str(a), str(b)]) == 0
    text = capsys.readouterr().out
    assert "| dice | 2 | 0.600 | 0.750 | 0.150 | 0.100 to 0.200 | x (0.100) |" in text
    assert "| hd95_mm | 2 | 6.00 | 4.50 | -1.50 | -4.00 to 1.00 | y (1.00) |" in text
    assert "Only in A, not compared: 1 (z)." in text


def test_null_is_undefined(tmp_path):
    path = evaluation(tmp_path / "a.json", {"x": None, "y": 0.5})
    found = values(read_evaluation(path), "dice")
    assert math.isnan(found["x"])
    assert found["y"] == 0.5


def test_mistakes_are_reported(tmp_path, capsys):
    a = evaluation(tmp_path / "a.json", {"x": 0.5})
    b = evaluation(tmp_path / "b.json", {"x": 0.5}, tolerance_mm=2.0)
    assert main([str(a), str(b)]) == 2
    assert "tolerance_mm = 2.0; expected 1.0" in capsys.readouterr().err
    for content in ("{}", "[]", "no"):
        (tmp_path / "c.json").write_text(content)
        with pytest.raises(UserError, match="found no evaluation"):
            read_evaluation(tmp_path / "c.json")
