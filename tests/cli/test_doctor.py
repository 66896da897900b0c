import json
import os
import subprocess
import sys
import time

import pytest

from clisc_nnunet.cli import doctor


@pytest.fixture
def folders(tmp_path, monkeypatch):
    for name in doctor.NNUNET_FOLDERS:
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


def states(findings):
    return {finding.topic: finding.state for finding in findings}


def test_a_complete_installation_has_nothing_to_fix(folders, capsys):
    assert doctor.main([]) == 0
    text = capsys.readouterr().out
    assert "Nothing is missing." in text
    assert "found by clisc_nnunet.pth in clisc_nnunet.trainers.nnUNetTrainerCLISC" in text


def test_what_is_missing_comes_with_the_line_to_type(folders, monkeypatch, capsys):
    monkeypatch.delenv("nnUNet_results")
    (folders / "nnUNet_raw").rmdir()
    assert doctor.main([]) == 2
    text = capsys.readouterr().out
    assert "-> export nnUNet_results=" in text
    assert f"-> mkdir -p {folders / 'nnUNet_raw'}" in text
    assert "2 to fix" in text


@pytest.mark.parametrize("kind", ["ImportError", "OSError", "RuntimeError"])
def test_without_torch_the_report_is_printed_all_the_same(folders, kind):
    (folders / "torch.py").write_text(f"raise {kind}('libcudart.so.12: cannot open')")
    path = os.pathsep.join([str(folders), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-m", "clisc_nnunet.cli.doctor"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "libcudart.so.12: cannot open" in done.stdout
    assert "bundled weights" in done.stdout
    assert "sam_vit_b" in done.stdout


def test_json_says_the_same(folders, capsys):
    assert doctor.main(["--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert {"nnUNetTrainerCLISC", "bundled sam", "device", "torch"} <= {
        f["topic"] for f in findings
    }


def test_a_trainer_that_nnunet_does_not_find_is_reported(monkeypatch):
    monkeypatch.setattr(doctor, "TRAINER", "nnUNetTrainerCLISC_nowhere")
    (finding,) = doctor.trainer_resolves()
    assert finding.state == "missing"
    assert finding.hint.startswith("export nnUNet_extTrainer=")


def test_a_tampered_bundled_model_is_reported(monkeypatch, tmp_path):
    from clisc_nnunet.models import weights

    for path in weights.BUNDLED.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "sam.safetensors").write_bytes(b"something else")
    monkeypatch.setattr(weights, "BUNDLED", tmp_path)
    found = states(doctor.bundled_weights())
    assert found.pop("bundled sam") == "missing"
    others = ("clip", "classifier", "brain", "network")
    assert found == {f"bundled {name}": "ok" for name in others}


def test_published_weights_that_are_absent_are_no_fault(monkeypatch, tmp_path):
    monkeypatch.setenv("CLISC_WEIGHTS", str(tmp_path))
    (tmp_path / "sam_vit_b_01ec64.pth").touch()
    found = states(doctor.published_weights())
    assert found["sam_vit_b"] == "ok"
    assert found["ViT-B-32"] == "note"


def test_offline_mode_is_reported(monkeypatch, tmp_path):
    monkeypatch.setenv("CLISC_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("CLISC_OFFLINE", "1")
    assert states(doctor.published_weights())["offline"] == "note"
    monkeypatch.delenv("CLISC_OFFLINE")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert "offline" not in states(doctor.published_weights())


def test_an_absent_package_is_reported(monkeypatch):
    monkeypatch.setattr(doctor, "PACKAGES", ("no-such-package",))
    assert states(doctor.installed_packages())["no-such-package"] == "missing"


@pytest.mark.parametrize(
    "module", ["clisc_nnunet.cli.doctor", "clisc_nnunet.trainers.export_plain_model"]
)
def test_help_answers_at_once(module):
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", module, "--help"], check=True, capture_output=True)
    assert time.monotonic() - started < 2  # about a second alone, more on a busy machine
