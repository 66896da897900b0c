import csv
import io
import json

import numpy as np
import pytest

from clisc_nnunet.quality_control.prediction_scores import CaseQuality, View
from clisc_nnunet.quality_control.quality_page import (
    ON_SCREEN,
    as_csv,
    as_json,
    as_page,
    as_table,
    view_content,
)

CASES = [
    CaseQuality("none", "empty", "the prediction is empty", rank=1, score=0.0),
    CaseQuality("a<b", "judged", "", 2, 0.4, 0.8123456, 0.7, 0.9, 12.34, 15.0, 3),
    CaseQuality("odd", "failed", "found another grid"),
]
FACTS = {"command": "clisc_estimate_quality -i <scans>", "sam": {"name": "bundled"}}


@pytest.fixture
def view():
    mask = np.zeros((10, 12), bool)
    mask[2:5, 3:6] = True
    return View("largest area", np.full(mask.shape, 90, np.uint8), mask, np.zeros_like(mask))


def test_the_page_stands_alone_with_the_least_trusted_on_top(view):
    page = as_page(CASES, {"a<b": [view_content(view)]}, FACTS)
    assert "http" not in page and "<script" not in page
    assert "a<b" not in page and "-i &lt;scans&gt;" in page
    assert page.index("1. none") < page.index("2. a&lt;b") < page.index("–. odd")
    assert "the prediction is empty" in page and "found another grid" in page
    assert "<td>0.81</td>" in page and "12.3 ml; 15.0 ml" in page
    assert page.count("data:image/png;base64,") == 1
    assert 'viewBox="0 0 12 10"' in page
    # SAM drew nothing there: its outline is left out, but for the key's.
    assert page.count('class="prediction"') == 2 and page.count('class="answer"') == 1


def test_csv_has_a_line_per_case():
    rows = list(csv.DictReader(io.StringIO(as_csv(CASES))))
    assert [row["case"] for row in rows] == ["none", "a<b", "odd"]
    assert rows[1]["similarity"] == "0.8123" and rows[1]["rank"] == "2"
    assert rows[0]["similarity"] == rows[2]["rank"] == ""


def test_json_has_the_facts_and_null_for_what_is_none():
    content = json.loads(as_json(CASES, FACTS))
    assert content["sam"]["name"] == "bundled"
    assert content["cases"][1]["similarity"] == 0.8123456
    assert content["cases"][0]["similarity"] is None


def test_the_table_has_reasons_and_counts():
    text = as_table(CASES)
    lines = text.splitlines()
    assert lines[1].split()[:3] == ["1", "none", "0.00"]
    assert lines[1].endswith("the prediction is empty")
    assert lines[2].split() == ["2", "a<b", "0.40", "0.81", "0.70", "0.90", "12.3", "3"]
    assert "not scored: odd: found another grid" in text
    assert "3 predictions: 1 scored, 1 empty, 1 failed" in text


def test_a_long_table_is_cut():
    many = [CaseQuality(f"c{k}", "judged", "", k, 0.5, 0.5, 0.5, 0.5) for k in range(1, 31)]
    text = as_table(many)
    assert "... and 5 more" in text and f"c{ON_SCREEN} " in text and "c26" not in text
