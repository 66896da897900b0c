from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clisc_nnunet.pipeline.case_result import CaseOutcome
from clisc_nnunet.report.run_summary import BINS, Change, changes, share_bars, totals, volume_bars
from clisc_nnunet.settings import PRESETS, RoiSettings, SamSettings, Settings


def test_shares_fall_into_their_bars():
    bars = share_bars([0.0, 0.04, 0.51, 1.0, 1.3], empty=[0.02, -0.5])
    assert len(bars) == BINS
    assert (bars[0].labelled, bars[0].empty, bars[0].count) == (2, 2, 4)
    assert (bars[10].low, bars[10].high, bars[10].labelled) == (0.5, 0.55, 1)
    assert bars[-1].labelled == 2


@given(st.lists(st.floats(0, 1e6, allow_nan=False), min_size=1, max_size=30))
def test_every_volume_is_in_one_of_a_few_round_bars(volumes):
    bars = volume_bars(volumes)
    assert 1 <= len(bars) <= BINS + 1
    assert sum(bar.count for bar in bars) == len(volumes)
    assert bars[0].low == 0 and bars[-1].high >= max(volumes)
    assert f"{bars[-1].high - bars[-1].low:.0e}"[0] in "125"


def test_no_volume_no_bar():
    assert volume_bars([]) == []


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_differs_in_nothing_from_itself(name):
    assert changes(PRESETS[name]) == []


def test_changes_are_named_as_on_the_command_line():
    settings = replace(
        Settings(), seed=3, roi=RoiSettings(threshold=0.3), sam=SamSettings(views=("axial",))
    )
    assert changes(settings) == [
        Change("seed", "0", "3"),
        Change("roi.threshold", "0.0", "0.3"),
        Change("sam.views", "axial, coronal, sagittal", "axial"),
    ]


def test_totals_count_by_status_and_take_medians_of_labels():
    outcomes = [
        CaseOutcome("a", "labelled", "", label_ml=10.0, predicted_iou=0.9, agreement=0.4),
        CaseOutcome("b", "labelled", "", label_ml=20.0, predicted_iou=0.9, agreement=0.9),
        CaseOutcome("c", "empty", "", predicted_iou=0.4, agreement=0.1),
        CaseOutcome("d", "failed", ""),
    ]
    found = totals(outcomes)
    assert (found.cases, found.labelled, found.empty, found.failed) == (4, 2, 1, 1)
    assert found.median_ml == 15.0 and found.median_confidence == pytest.approx(0.75)


def test_no_labels_no_medians():
    found = totals([CaseOutcome("d", "failed", "")])
    assert found.median_ml is None and found.median_confidence is None
