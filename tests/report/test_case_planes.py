from dataclasses import replace

import numpy as np
import pytest
from helpers.finished import (
    CASE,
    EMPTY,
    LABEL,
    PROBABILITY,
    REGION,
    FinishedRun,
    block,
)

from clisc_nnunet.pipeline.case_result import CaseOutcome
from clisc_nnunet.report.case_planes import plane_views, representative_plane, spread_planes
from clisc_nnunet.settings import MaskingSettings, Settings

SEEN = np.arange(8)


def views(case, settings=None, status="labelled", count=1):
    run = FinishedRun({"a": case}, settings or Settings())
    return plane_views(run, CaseOutcome("a", status, "some reason"), count)


def test_shows_the_slice_with_the_largest_label():
    (view,) = views(CASE)
    assert view.plane == 4 and not view.rejected
    np.testing.assert_array_equal(view.label, LABEL[4])
    np.testing.assert_array_equal(view.roi, REGION[4])
    np.testing.assert_allclose(view.cam, REGION[4])


def test_box_and_points_are_those_that_sam_got():
    margin = Settings().prompts.margin
    expected = [8 - margin, 6 - margin, 19 + margin, 13 + margin]
    assert views(CASE)[0].prompts.boxes[0].tolist() == expected


def test_other_planes_follow_from_inferior_to_superior():
    assert [view.plane for view in views(CASE, count=5)] == [4, 2, 3, 5]


def test_empty_case_shows_plain_slices_of_the_brain():
    shown = views(replace(CASE, enhanced=EMPTY, label=EMPTY), status="empty", count=3)
    assert shown[0].plane == 7  # the likeliest for CLIP
    assert len(shown) == 3
    for view in shown:
        assert not view.label.any() and not view.roi.any() and not view.cam.any()
        assert view.prompts is None


def test_holes_are_filled_as_in_the_label():
    ring = LABEL & ~block(slice(4, 5), slice(11, 13), slice(14, 17))
    case = replace(CASE, label=ring)
    assert views(case)[0].label[11, 14]
    settings = replace(Settings(), pseudo_label=replace(Settings().pseudo_label, fill_holes=False))
    assert not views(case, settings)[0].label[11, 14]


def test_what_sam_was_not_sure_of_is_rejected():
    (view,) = views(CASE, status="empty")
    assert view.label.any() and view.rejected


def test_without_masking_the_raw_regions_are_shown():
    raw = block(slice(4, 5), slice(2, 5), slice(2, 5))
    (view,) = views(replace(CASE, raw=raw), Settings(masking=MaskingSettings(mode="off")))
    np.testing.assert_array_equal(view.roi, raw[4])


@pytest.mark.parametrize(("probability", "plane"), [(PROBABILITY, 7), (np.full(8, 0.5), 4)])
def test_without_label_and_region_the_likeliest_plane_is_representative(probability, plane):
    assert representative_plane(EMPTY, EMPTY, SEEN, probability) == plane


def test_without_a_label_the_largest_region_is_representative():
    assert representative_plane(EMPTY, REGION, SEEN, PROBABILITY) == 2


@pytest.mark.parametrize(
    ("first", "count", "expected"),
    [(4, 1, [4]), (4, 2, [4, 5]), (2, 2, [2, 5]), (5, 9, [2, 3, 4, 5])],
)
def test_planes_are_spread_over_the_label(first, count, expected):
    assert spread_planes(first, LABEL, REGION, SEEN, count) == expected


def test_planes_are_spread_over_the_brain_where_nothing_is_drawn():
    assert spread_planes(7, EMPTY, EMPTY, SEEN, 4) == [1, 3, 5, 7]
