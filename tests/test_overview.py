from dataclasses import replace

import numpy as np
import pytest
from finished import SHAPE, FinishedCase, block, stage_arrays
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import Rectangle

from clisc_nnunet.outcome import CaseOutcome
from clisc_nnunet.report import overview as module
from clisc_nnunet.report.overview import MAX_ROWS, Row, contents, draw_row, overview
from clisc_nnunet.scanwork import unpack_stack
from clisc_nnunet.settings import MaskingSettings, Settings

EMPTY = np.zeros(SHAPE, bool)
# The region covers planes 2 to 5; the label is largest in plane 4.
REGION = block(slice(2, 6), slice(6, 14), slice(8, 20))
LABEL = block(slice(2, 6), slice(8, 12), slice(10, 16)) | block(
    slice(4, 5), slice(8, 18), slice(10, 22)
)
PROBABILITY = np.array([0.1, 0.2, 0.6, 0.7, 0.7, 0.6, 0.2, 0.9])
CASE = FinishedCase(EMPTY, REGION, LABEL, PROBABILITY, (PROBABILITY > 0.5).astype(int))


class FinishedRun:
    """What the picture asks a `Casework` for, from arrays in memory."""

    def __init__(self, cases, settings):
        self.settings = settings
        self._stages = {name: stage_arrays(case) for name, case in cases.items()}

    def arrays(self, case, stage):
        return self._stages[case][stage]

    def stack(self, case):
        return unpack_stack(self.arrays(case, "slices"))

    def region(self, case, name):
        packed = self.arrays(case, f"{name}_regions")["roi"]
        return np.unpackbits(packed, count=EMPTY.size).reshape(SHAPE).astype(bool)


def outcome(case, status="labelled", iou=0.8):
    return CaseOutcome(case, status, "some reason", label_ml=2.0, predicted_iou=iou)


@pytest.fixture
def drawn(monkeypatch):
    """The rows that a picture consists of, in order."""
    rows = []
    monkeypatch.setattr(module, "draw_row", lambda axes, row: rows.append(row))
    return rows


def picture(tmp_path, case, settings=None, status="labelled"):
    run = FinishedRun({"a": case}, settings or Settings())
    overview(run, [outcome("a", status)], tmp_path / "overview.png")


def test_shows_the_slice_with_the_largest_label(tmp_path, drawn):
    picture(tmp_path, CASE)
    np.testing.assert_array_equal(drawn[0].label, LABEL[4])
    np.testing.assert_array_equal(drawn[0].roi, REGION[4])
    np.testing.assert_allclose(drawn[0].cam, REGION[4])


def test_box_and_points_are_those_that_sam_got(tmp_path, drawn):
    picture(tmp_path, CASE)
    margin = Settings().prompts.margin
    expected = [8 - margin, 6 - margin, 19 + margin, 13 + margin]
    assert drawn[0].prompts.boxes[0].tolist() == expected


def test_empty_case_shows_a_plain_slice_and_the_reason(tmp_path, drawn):
    picture(tmp_path, replace(CASE, enhanced=EMPTY, label=EMPTY), status="empty")
    row = drawn[0]
    assert not row.label.any() and not row.roi.any() and not row.cam.any()
    assert row.prompts is None
    assert "some reason" in row.title


@pytest.mark.parametrize(("probability", "plane"), [(PROBABILITY, 7), (np.full(8, 0.5), 4)])
def test_empty_case_shows_the_slice_likeliest_for_clip(probability, plane):
    run = FinishedRun({"a": replace(CASE, probability=probability)}, Settings())
    assert module._telling_plane(run, "a", EMPTY, EMPTY) == plane


def test_a_region_without_a_label_is_shown(tmp_path, drawn):
    picture(tmp_path, replace(CASE, label=EMPTY), status="empty")
    np.testing.assert_array_equal(drawn[0].roi, REGION[2])


def test_what_sam_was_not_sure_of_is_shown_as_rejected(tmp_path, drawn):
    picture(tmp_path, CASE, status="empty")
    assert drawn[0].label.any()
    assert drawn[0].rejected


def test_without_masking_the_raw_regions_are_shown(tmp_path, drawn):
    raw = block(slice(4, 5), slice(2, 5), slice(2, 5))
    picture(tmp_path, replace(CASE, raw=raw), Settings(masking=MaskingSettings(mode="off")))
    np.testing.assert_array_equal(drawn[0].roi, raw[4])


def test_least_sure_first_and_failed_below():
    outcomes = [outcome("b", iou=0.9), outcome("c", "failed", 0.0), outcome("a", iou=0.3)]
    shown, title, failed = contents(outcomes)
    assert [o.case for o in shown] == ["a", "b"]
    assert title == "3 cases, the least sure on top"
    assert failed == "1 failed: c"


def test_more_cases_than_rows_are_told():
    outcomes = [outcome(str(k), iou=1 - k / 100) for k in range(MAX_ROWS + 5)]
    shown, title, failed = contents(outcomes)
    assert len(shown) == MAX_ROWS
    assert shown[0].case == str(MAX_ROWS + 4)
    assert f"the {MAX_ROWS} least sure of {MAX_ROWS + 5} usable ones are shown" in title
    assert failed == ""


def test_a_long_list_of_failures_is_cut():
    outcomes = [outcome(f"case{k}", "failed") for k in range(module.MAX_NAMES + 3)]
    assert contents(outcomes)[2].endswith("and 3 more")


def test_draws_what_it_is_given():
    axes = Figure().subplots(1, 4)
    run = FinishedRun({"a": CASE}, Settings())
    draw_row(axes, module._row(run, outcome("a")))
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
    draw_row(axes, Row("a", np.zeros((4, 4), np.uint8), np.zeros((4, 4)), empty, empty, None))
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
