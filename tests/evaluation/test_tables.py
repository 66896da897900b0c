import json
import math

import pytest

from clisc_nnunet.evaluation.tables import markdown, shown, to_csv, to_json


def test_markdown():
    assert markdown([{"case": "a", "x": 0.12345, "x ml": 12.345}]) == (
        "| case | x | x ml |\n| --- | --- | --- |\n| a | 0.123 | 12.3 |"
    )


def test_csv_leaves_out_nan():
    assert to_csv([{"case": "a, b", "x": math.nan, "n": 2}]) == 'case,x,n\n"a, b",,2\n'


def test_json_has_null_for_nan():
    found = json.loads(to_json({"a": [math.nan, 1.5], "b": {"c": (math.nan,)}}))
    assert found == {"a": [None, 1.5], "b": {"c": [None]}}


@pytest.mark.parametrize(
    "key, value, text",
    [
        ("dice", 0.87654, "0.877"),
        ("hd95_mm", 6.7199, "6.72"),
        ("predicted_ml", 12.34, "12.3"),
        ("lesions", 3, "3"),
        ("dice", math.nan, "nan"),
    ],
)
def test_digits_fit_the_measure(key, value, text):
    assert shown(key, value) == text
