import numpy as np
import pytest
from helpers.finished import SHAPE, FinishedCase, FinishedRun, block
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import Rectangle

from clisc_nnunet.pipeline.case_result import CaseOutcome
from clisc_nnunet.report import overview_figure as module
from clisc_nnunet.report.case_planes import PlaneView, plane_views
from clisc_nnunet.report.overview_figure import MAX_ROWS, contents, draw_row, overview, row_title
from clisc_nnunet.settings import Settings

EMPTY = np.zeros(SHAPE, bool)
# The region covers planes 2 to 5; the label is largest in plane 4.
REGION = block(slice(2, 6), slice(6, 14), slice(8, 20))
LABEL = block(slice(2, 6), slice(8, 12), slice(10, 16)) | block(
    slice(4, 5), slice(8, 18), slice(10, 22)
)
PROBABILITY = np.array([0.1, 0.2, 0.6, 0.7, 0.7, 0.6, 0.2, 0.9])
CASE = FinishedCase(EMPTY, REGION, LABEL, PROBABILITY, (PROBABILITY > 0.5).astype(int))


def outcome(case, status="labelled", iou=0.8):
    return CaseOutcome(case, status, "some reason", label_ml=2.0, predicted_iou=iou, agreement=0.9)


def test_each_case_is_drawn_with_its_title(tmp_path, monkeypatch):
    rows = []
    monkeypatch.setattr(module, "draw_row", lambda axes, title, view: rows.append((title, view)))
    run = FinishedRun({"a": CASE}, Settings())
    overview(run, [outcome("a")], tmp_path / "overview.png")
    ((title, view),) = rows
    assert title.startswith("a\nlabelled, 2 ml\nconfidence 0.85")
    np.testing.assert_array_equal(view.label, LABEL[4])


def test_a_case_without_a_label_has_its_reason_for_a_title():
    assert "some reason" in row_title(outcome("a", "empty"))


def test_a_dollar_in_a_name_is_no_formula(tmp_path):
    run = FinishedRun({"a_$x_$": CASE}, Settings())
    outcomes = [outcome("a_$x_$"), outcome("$\\frac$", "failed")]
    overview(run, outcomes, tmp_path / "overview.png")
    assert (tmp_path / "overview.png").stat().st_size > 1000


def test_least_sure_first_and_failed_below():
    outcomes = [outcome("b", iou=0.9), outcome("c", "failed", 0.0), outcome("a", iou=0.3)]
    shown, title, failed = contents(outcomes)
    assert [o.case for o in shown] == ["a", "b"]
    assert title == "3 cases, the least confident on top"
    assert failed == "1 failed: c"


def test_more_cases_than_rows_are_reported():
    outcomes = [outcome(str(k), iou=1 - k / 100) for k in range(MAX_ROWS + 5)]
    shown, title, failed = contents(outcomes)
    assert len(shown) == MAX_ROWS
    assert shown[0].case == str(MAX_ROWS + 4)
    assert f"the {MAX_ROWS} least confident of {MAX_ROWS + 5} usable ones" in title
    assert failed == ""


def test_a_long_list_of_failures_is_cut():
    outcomes = [outcome(f"case{k}", "failed") for k in range(module.MAX_NAMES + 3)]
    assert contents(outcomes)[2].endswith("and 3 more")


def test_draws_what_it_is_given():
    axes = Figure().subplots(1, 4)
    run = FinishedRun({"a": CASE}, Settings())
    draw_row(axes, "a", plane_views(run, outcome("a"))[0])
    boxes = [patch for patch in axes[2].patches if isinstance(patch, Rectangle)]
    assert (boxes[0].get_x(), boxes[0].get_y()) == (5, 3)
    positive, negative = (line.get_xydata() for line in axes[2].lines)
    assert len(positive) == 5 and len(negative) == 4
    assert REGION[4][positive[:, 1].astype(int), positive[:, 0].astype(int)].all()
    assert len(axes[2].collections) == len(axes[3].collections) == 1  # the outlines
    assert not axes[0].collections


def test_draws_no_outline_of_nothing():
    axes = Figure().subplots(1, 4)
    empty = np.zeros((4, 4), bool)
    view = PlaneView(0, np.zeros((4, 4), np.uint8), np.zeros((4, 4)), empty, empty, None)
    draw_row(axes, "a", view)
    assert not any(a.collections or a.patches or len(a.lines) for a in axes)


def test_writes_a_legible_picture_and_nothing_else(tmp_path):
    run = FinishedRun({"a": CASE, "b": CASE}, Settings())
    overview(run, [outcome("a"), outcome("b", iou=0.2)], tmp_path / "overview.png")
    assert [p.name for p in tmp_path.iterdir()] == ["overview.png"]
    height, width = imread(tmp_path / "overview.png").shape[:2]
    assert width >= 700 and height >= 2 * 180


def test_a_picture_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "overview.png"
    path.write_bytes(b"old")

    def stop(self, target, **_):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", stop)
    with pytest.raises(OSError, match="disk full"):
        overview(FinishedRun({"a": CASE}, Settings()), [outcome("a")], path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["overview.png"]
