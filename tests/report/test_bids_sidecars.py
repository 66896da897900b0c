import json

from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.pipeline.case_result import CaseOutcome
from clisc_nnunet.report.bids_sidecars import sidecar, write_sidecars
from clisc_nnunet.settings import RoiSettings, Settings, from_json

RECORD = {
    "clisc_nnunet": "1.2",
    "versions": {"torch": "2.10"},
    "models": {"sam": {"name": "bundled", "sha256": "f00d"}},
    "command": "clisc_make_pseudo_dataset -i /home/me/scans",
}
SETTINGS = Settings(roi=RoiSettings(threshold=0.3))
OUTCOME = CaseOutcome(
    "a", "labelled", "SAM drew on 3 slices", label_ml=12.5, predicted_iou=0.81, agreement=0.64
)


def write(folder, outcomes, scans):
    digests = {path: file_sha256(path) for path in scans.values() if path.exists()}
    labels = folder / "labelsTr"
    write_sidecars(outcomes, scans, digests, labels, RECORD, SETTINGS, folder / "sidecars")


def test_records_where_a_label_comes_from():
    content = sidecar(OUTCOME, "a_flair.nii.gz", "1a", "2b", RECORD, SETTINGS)
    assert content["Sources"] == ["a_flair.nii.gz"]
    assert (content["SourcesSha256"], content["LabelSha256"]) == (["1a"], "2b")
    assert content["GeneratedBy"][0]["Version"] == "1.2"
    assert content["Models"]["sam"]["sha256"] == "f00d"
    assert content["Confidence"] == 0.72
    assert from_json(json.dumps(content["Settings"])) == SETTINGS


def test_one_for_each_label_and_none_for_other_cases(tmp_path):
    scans = {name: tmp_path / f"{name}.nii.gz" for name in "ab"}
    for path in scans.values():
        path.write_bytes(path.name.encode())
    (tmp_path / "labelsTr").mkdir()
    label = tmp_path / "labelsTr" / "a.nii.gz"
    label.write_bytes(b"label")
    (tmp_path / "sidecars").mkdir()
    for name in ("b", "gone.1"):
        (tmp_path / "sidecars" / f"{name}.json").write_text("of an earlier run, which had a label")
    write(tmp_path, [OUTCOME, CaseOutcome("b", "failed", "")], scans)
    assert [path.name for path in (tmp_path / "sidecars").iterdir()] == ["a.json"]
    content = json.loads((tmp_path / "sidecars" / "a.json").read_text())
    assert content["LabelSha256"] == file_sha256(label)
    assert content["SourcesSha256"] == [file_sha256(scans["a"])]
    assert str(tmp_path) not in json.dumps(content)


def test_a_persons_label_whose_scan_is_gone_has_none(tmp_path):
    (tmp_path / "labelsTr").mkdir()
    (tmp_path / "labelsTr" / "b.nii.gz").write_bytes(b"label")
    (tmp_path / "sidecars").mkdir()
    write(tmp_path, [CaseOutcome("b", "failed", "gone")], {"b": tmp_path / "b.nii.gz"})
    assert not any((tmp_path / "sidecars").iterdir())
