import csv
import io

from clisc_nnunet.outcome import CaseOutcome, summary, to_csv

OUTCOMES = [
    CaseOutcome("a", "labelled", "SAM drew on 3 slices", 90, 4, 5, 3, 12.3456, 0.7, 0.5),
    CaseOutcome("b", "empty", "the classifier calls no slice a tumour", 80),
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
