import json

from clisc_nnunet.dataset_conversion.machine_report import machine_report, write_report
from clisc_nnunet.errors import ScanError
from clisc_nnunet.pipeline.case_result import CaseOutcome

OUTCOMES = [CaseOutcome("a", "labelled", "drawn", label_ml=2.0), CaseOutcome("b", "failed", "x")]


def test_a_run_is_reported_case_by_case(tmp_path):
    report = machine_report("clisc -i x", 3, OUTCOMES, tmp_path)
    write_report(tmp_path / "run.json", report)
    kept = json.loads((tmp_path / "run.json").read_text())
    assert (kept["status"], kept["exit_status"]) == ("some cases failed", 3)
    assert kept["counts"] == {"cases": 2, "labelled": 1, "trusted": 0, "empty": 0, "failed": 1}
    assert [case["case"] for case in kept["cases"]] == ["a", "b"]
    assert kept["error"] is None
    assert kept["phantoms"] == 0
    with_phantoms = machine_report("clisc -i x", 3, OUTCOMES, tmp_path, phantoms=4)
    assert {**with_phantoms, "phantoms": 0} == kept


def test_a_mistake_is_reported_in_its_parts():
    report = machine_report("clisc", 2, [], error=ScanError("a.nii", "x", "y", "z"))
    assert report["status"] == "bad input"
    assert report["error"] == {"where": "a.nii", "found": "x", "expected": "y", "cure": "z"}


def test_a_fault_of_ours_is_a_crash():
    report = machine_report("clisc", 1, [], error=KeyError("k"))
    assert (report["status"], report["error"]) == ("crashed", {"found": "KeyError: 'k'"})
