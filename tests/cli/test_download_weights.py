from dataclasses import replace

import pytest
from helpers.publisher import publishing

from clisc_nnunet.cli import doctor, download_weights
from clisc_nnunet.models import registry
from clisc_nnunet.models.registry import ENTRIES


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CLISC_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path


def test_the_list_names_every_model_and_the_folder(folder, capsys):
    (folder / "medsam_vit_b.pth").touch()
    assert download_weights.main(["--list"]) == 0
    text = capsys.readouterr().out
    assert all(f"{name} " in text for name in ENTRIES)
    assert str(folder) in text
    (line,) = [line for line in text.splitlines() if line.startswith("medsam ")]
    assert "yes" in line
    found = {finding.topic: finding for finding in doctor.published_weights()}["medsam"]
    assert (found.state, found.found) == ("ok", str(folder / "medsam_vit_b.pth"))


def test_all_about_a_model(capsys):
    assert download_weights.main(["--show", "sam_vit_b"]) == 0
    text = capsys.readouterr().out
    assert "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth" in text
    assert "sha256 ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912, stated" in text


def test_what_cannot_be_had_is_reported_and_the_rest_is_fetched(folder, monkeypatch, capsys):
    with publishing() as publisher:
        publisher.files["/a"] = b"PK..weights"
        source = registry.Web(f"{publisher.url}/a")
        entry = replace(ENTRIES["medsam"], source=source, digest=None)
        monkeypatch.setitem(registry.ENTRIES, "medsam", entry)
        assert download_weights.main(["sam_x", "medsam"]) == 2
    captured = capsys.readouterr()
    assert "error: sam_x: found an unknown model" in captured.err
    assert (folder / "medsam_vit_b.pth").read_bytes() == b"PK..weights"
