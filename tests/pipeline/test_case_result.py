import csv
import io

import pytest

from clisc_nnunet.pipeline.case_result import (
    STATUSES,
    CaseOutcome,
    least_sure_first,
    summary,
    to_csv,
)

OUTCOMES = [
    CaseOutcome("a", "labelled", "SAM drew on 3 slices", 90, 4, 5, 3, 12.3456, 0.7, 0.5),
    CaseOutcome("b", "empty", "the classifier finds a tumour in no slice", 80),
    CaseOutcome("c", "failed", "c.nii.gz: found nothing, really; expected more"),
]


def test_csv_has_every_field_and_survives_commas():
    rows = list(csv.DictReader(io.StringIO(to_csv(OUTCOMES))))
    assert [row["case"] for row in rows] == ["a", "b", "c"]
    assert rows[0]["label_ml"] == "12.3456"
    assert rows[2]["reason"] == OUTCOMES[2].reason


def test_summary_counts_and_times():
    text = summary(OUTCOMES, {"slices": 1.4, "SAM": 20.6})
    assert "3 cases: 1 labelled, 1 empty, 1 failed" in text
    assert "volumes: 12.3 to 12.3 ml" in text
    assert "seconds: slices 1, SAM 21" in text


def test_summary_without_a_label_has_no_volumes():
    assert "volumes" not in summary(OUTCOMES[1:], {})


@pytest.mark.parametrize(
    ("iou", "agreement", "expected"),
    [(0.9, 0.4, 0.6), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (1.21, 1.0, 1.0), (-0.1, 0.5, 0.0)],
)
def test_confidence_is_low_where_either_opinion_is(iou, agreement, expected):
    outcome = CaseOutcome("a", "labelled", "", predicted_iou=iou, agreement=agreement)
    assert outcome.confidence == pytest.approx(expected)


def test_least_sure_first_then_by_status_and_name():
    outcomes = [
        CaseOutcome("sure", "labelled", "", predicted_iou=0.9, agreement=0.9),
        CaseOutcome("unsure", "labelled", "", predicted_iou=0.9, agreement=0.1),
        CaseOutcome("b", "empty", ""),
        CaseOutcome("a", "empty", ""),
        CaseOutcome("z", "failed", ""),
    ]
    expected = ["z", "a", "b", "unsure", "sure"]
    assert [o.case for o in least_sure_first(outcomes)] == expected
    assert [o.case for o in least_sure_first(outcomes[::-1])] == expected


def test_csv_ranks_the_cases_in_their_own_order():
    rows = list(csv.DictReader(io.StringIO(to_csv(OUTCOMES))))
    assert [row["rank"] for row in rows] == ["3", "2", "1"]
    assert rows[0]["confidence"] == "0.5916"


def test_phantoms_are_listed_last_without_rank_or_confidence():
    scans = [CaseOutcome("a", "labelled", "drawn", label_ml=2.0, predicted_iou=0.9, agreement=0.8)]
    phantoms = [CaseOutcome("phantom_0001", "phantom", "usual head, tumour: core", label_ml=41.06)]
    rows = list(csv.DictReader(io.StringIO(to_csv(scans, phantoms))))
    assert [row["rank"] for row in rows] == ["1", ""]
    shown = {key: value for key, value in rows[1].items() if value}
    assert shown == {
        "case": "phantom_0001",
        "status": "phantom",
        "reason": "usual head, tumour: core",
        "label_ml": "41.06",
    }
    assert to_csv(scans, phantoms).startswith(to_csv(scans))
    assert "phantom" not in STATUSES
