import csv

from helpers.finished import CASE, write_finished

from clisc_nnunet.evaluation.stage_tables import report_stages


def test_phantoms_are_no_cases_to_score(tmp_path):
    dataset = write_finished(tmp_path / "dataset", {"a": CASE}, failed="b")
    before = report_stages(dataset, None)
    with (dataset / "clisc" / "cases.csv").open("a", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(["phantom_0001", "phantom", ""])
    after = report_stages(dataset, None)
    assert [row["case"] for row in after.rows] == ["a"]
    assert (after.text, after.others) == (before.text, before.others)
