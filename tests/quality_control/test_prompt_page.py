import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from clisc_nnunet.quality_control.prompt_page import draw_probabilities, write_page, write_picture
from clisc_nnunet.quality_control.prompt_separation import ScoredSlices, check_prompts
from clisc_nnunet.settings import LabelSettings

NAME = "<b>odd</b>"


@pytest.fixture
def check():
    probability = np.array([0.1] * 10 + [0.5] * 5 + [0.9] * 10)
    slices = ScoredSlices(2.0 * np.arange(25), probability)
    return check_prompts(NAME, {"case_a": slices, "case_b": slices}, LabelSettings())


@pytest.fixture
def pixels():
    shown = np.random.default_rng(0).integers(0, 255, (25, 16, 16)).astype(np.uint8)
    return {"case_a": shown, "case_b": shown[::-1]}


def test_the_page_needs_nothing_else_and_escapes_names(check, pixels, tmp_path):
    path = tmp_path / "new" / "page.html"
    write_page([check, check], pixels, path, "clisc_check_prompts -i <scans>")
    text = path.read_text(encoding="utf-8")
    assert "http" not in text and "<script" not in text
    assert NAME not in text and "&lt;b&gt;odd&lt;/b&gt;" in text and "-i &lt;scans&gt;" in text
    assert text.count("prompts separate slices; check") == 2
    # Two sets, each with a figure and two strips of eight.
    assert text.count("data:image/png;base64,") == 2 * (1 + 2 * 8)
    assert "<td>40 %</td>" in text and "<td>20 %</td>" in text and "<td>2 of 2</td>" in text
    assert "0.90 at" in text and "0.10 at" in text


def test_the_picture_has_a_part_for_each_set(check, pixels, tmp_path):
    write_picture([check], pixels, tmp_path / "one.png")
    write_picture([check, check], pixels, tmp_path / "two.png")
    one, two = imread(tmp_path / "one.png"), imread(tmp_path / "two.png")
    assert two.shape[0] == pytest.approx(2 * one.shape[0], abs=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]


def test_names_with_dollars_are_no_formulas(check, pixels, tmp_path):
    odd = {name.replace("_", "$_$"): name for name in check.cases}
    renamed = check_prompts(
        "x$_$", {new: check.cases[old] for new, old in odd.items()}, LabelSettings()
    )
    shown = {new: pixels[old] for new, old in odd.items()}
    write_picture([renamed], shown, tmp_path / "picture.png")
    write_page([renamed], shown, tmp_path / "page.html", "command")
    assert (tmp_path / "picture.png").is_file() and (tmp_path / "page.html").is_file()


def test_histogram_counts_all_slices_and_each_case_has_a_curve(check):
    figure = Figure()
    draw_probabilities(figure, check)
    bars, curves = figure.axes
    assert sum(bar.get_height() for bar in bars.patches) == 50
    assert [line.get_label() for line in curves.lines] == ["case_a", "case_b"]
    assert np.array_equal(curves.lines[0].get_xydata()[:, 0], 2.0 * np.arange(25))
