"""Downloads from a local server that is slow, drops connections, or serves other content."""

import contextlib
import hashlib
from dataclasses import replace

import pytest
from helpers.publisher import COMMIT, publishing

from clisc_nnunet.errors import WeightsError
from clisc_nnunet.models import download
from clisc_nnunet.models.download import fetch, weights_path
from clisc_nnunet.models.registry import ENTRIES, Digest, Hub, Web

CONTENT = b"PK" + bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HTML = b"<!DOCTYPE html><title>Please log in</title>"


@pytest.fixture
def publisher(tmp_path, monkeypatch):
    monkeypatch.setenv("CLISC_WEIGHTS", str(tmp_path / "weights"))
    for name in ("CLISC_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSE_S", 0)
    with publishing() as server:
        server.files["/sam.pth"] = CONTENT
        yield server


def entry_at(publisher, path="/sam.pth", digest=SHA256):
    return replace(
        ENTRIES["sam_vit_b"],
        file="sam.pth",
        source=Web(publisher.url + path),
        digest=Digest("sha256", digest, "the test") if digest else None,
    )


def left_over(publisher):
    """Files in the weights folder except locks."""
    folder = weights_path(entry_at(publisher)).parent
    return sorted(p.name for p in folder.glob("*") if not p.name.endswith(".lock"))


def test_a_file_is_downloaded_once_and_reported(publisher, capsys):
    entry = entry_at(publisher)
    path = fetch(entry)
    assert path.read_bytes() == CONTENT
    said = capsys.readouterr().out
    assert (
        f"downloading sam_vit_b (375 MB, licence: Apache-2.0) from {entry.source.url} to {path}"
        in said
    )
    assert f"sha256 {SHA256}, as published" in said
    assert fetch(entry) == path
    assert len(publisher.asked) == 1
    assert left_over(publisher) == ["sam.pth"]


def test_a_redirect_is_followed(publisher):
    publisher.files["/old.pth"] = "/sam.pth"
    assert fetch(entry_at(publisher, "/old.pth")).read_bytes() == CONTENT


def test_a_dropped_connection_is_retried(publisher, capsys):
    publisher.broken["/sam.pth"] = 2
    assert fetch(entry_at(publisher)).read_bytes() == CONTENT
    assert capsys.readouterr().out.count("retrying") == 2


def test_a_failed_download_leaves_nothing(publisher):
    publisher.broken["/sam.pth"] = 9
    with pytest.raises(WeightsError, match=r"an incomplete download.*http.*sam\.pth"):
        fetch(entry_at(publisher))
    assert left_over(publisher) == []


def test_a_stalled_download_times_out(publisher, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(download, "TRIES", 1)
    publisher.slow.add("/sam.pth")
    with pytest.raises(WeightsError, match=r"incomplete download .*[Tt]imed? ?out"):
        fetch(entry_at(publisher))
    assert left_over(publisher) == []


def test_a_missing_file_names_the_target_and_the_hash(publisher):
    with pytest.raises(WeightsError, match=r"no file at .*404") as caught:
        fetch(entry_at(publisher, "/gone.pth"))
    line = str(caught.value)
    assert str(weights_path(entry_at(publisher))) in line
    assert f"sha256 {SHA256}" in line


def test_other_content_is_rejected(publisher):
    with pytest.raises(WeightsError, match=f"found sha256 {SHA256}; expected sha256 0000"):
        fetch(entry_at(publisher, digest="0" * 64))
    assert left_over(publisher) == []


def test_a_web_page_is_rejected_even_without_a_published_hash(publisher):
    publisher.files["/login"] = HTML
    with pytest.raises(WeightsError, match=r"no weight file .it starts with b'<!DOCTYPE"):
        fetch(entry_at(publisher, "/login", digest=None))
    assert left_over(publisher) == []


def test_without_a_published_hash_the_computed_one_is_printed(publisher, capsys):
    fetch(entry_at(publisher, digest=None))
    assert f"sha256 {SHA256}, the publisher states no hash" in capsys.readouterr().out


def test_an_unreachable_server_is_reported(publisher):
    entry = replace(entry_at(publisher), source=Web("http://127.0.0.1:9/sam.pth"))
    with pytest.raises(WeightsError, match=r"incomplete download from http://127.0.0.1:9/sam.pth"):
        fetch(entry)


@pytest.mark.parametrize("switch", ["CLISC_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_mode_does_not_use_the_network(publisher, monkeypatch, switch):
    monkeypatch.setenv(switch, "1")
    entry = entry_at(publisher)
    with pytest.raises(WeightsError, match=r"offline mode.*http"):
        fetch(entry)
    assert publisher.asked == []
    weights_path(entry).parent.mkdir()
    weights_path(entry).write_bytes(CONTENT)
    assert fetch(entry).read_bytes() == CONTENT  # put there manually


def test_a_weights_folder_that_cannot_be_created_is_reported(publisher, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CLISC_WEIGHTS", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match="a folder that is not writable"):
        fetch(entry_at(publisher))
    assert publisher.asked == []


def test_a_modified_file_is_rejected(publisher):
    path = fetch(entry_at(publisher))
    path.write_bytes(CONTENT + b"!")
    with pytest.raises(WeightsError, match=r"stated by the test\); remove the file"):
        fetch(entry_at(publisher))


def test_an_abbreviated_hash_is_enough(publisher):
    md5 = hashlib.md5(CONTENT).hexdigest()[:6]
    entry = replace(entry_at(publisher), digest=Digest("md5", md5, "the test"))
    assert fetch(entry).is_file()
    assert str(entry.digest) == f"md5 {md5}..."


@pytest.fixture
def hub_entry(publisher, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", publisher.url)
    for name in ("open_clip.bin", "config.json"):
        publisher.files[f"/org/model/resolve/{COMMIT}/{name}"] = CONTENT
    source = Hub("org/model", COMMIT, "open_clip.bin", ("config.json",))
    return replace(entry_at(publisher), file="Model/open_clip.bin", source=source, digest=None)


def test_a_hub_model_comes_with_its_companion_files(hub_entry, capsys):
    path = fetch(hub_entry)
    assert path.read_bytes() == (path.parent / "config.json").read_bytes() == CONTENT
    assert "as published" in capsys.readouterr().out  # the hub states the hash
    assert sorted(p.name for p in path.parent.iterdir() if p.suffix != ".lock") == [
        "config.json",
        "open_clip.bin",
    ]


def test_a_hub_download_is_resumed(publisher, hub_entry):
    weights = f"/org/model/resolve/{COMMIT}/open_clip.bin"
    publisher.files[weights] = content = b"PK" + bytes(30 << 20)  # the hub sends chunks of 10 MB
    publisher.broken[weights] = 1
    with contextlib.suppress(WeightsError):  # huggingface_hub may resume by itself
        fetch(hub_entry)
    assert fetch(hub_entry).read_bytes() == content
    spans = [span for _, path, span in publisher.asked if path == weights and span]
    assert any(span != "bytes=0-" for span in spans)


def test_the_registrys_hash_takes_precedence_over_the_hubs(hub_entry):
    entry = replace(hub_entry, digest=Digest("sha256", "0" * 64, "the test"))
    with pytest.raises(WeightsError, match="expected sha256 0000"):
        fetch(entry)
    assert not weights_path(entry).exists()


def test_a_missing_revision_is_reported(hub_entry):
    entry = replace(hub_entry, source=replace(hub_entry.source, revision="f" * 40))
    with pytest.raises(WeightsError, match=r"failed download from the hub .*404"):
        fetch(entry)
