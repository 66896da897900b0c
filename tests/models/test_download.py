"""Downloads from a publisher on this machine that is slow, breaks off, or serves something else."""

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
    """Files in the weights folder, but for the locks."""
    folder = weights_path(entry_at(publisher)).parent
    return sorted(p.name for p in folder.glob("*") if not p.name.endswith(".lock"))


def test_a_file_is_fetched_once_and_said_so(publisher, capsys):
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


def test_what_breaks_off_is_started_again(publisher, capsys):
    publisher.broken["/sam.pth"] = 2
    assert fetch(entry_at(publisher)).read_bytes() == CONTENT
    assert capsys.readouterr().out.count("starting again") == 2


def test_what_always_breaks_off_leaves_nothing(publisher):
    publisher.broken["/sam.pth"] = 9
    with pytest.raises(WeightsError, match=r"no whole file.*fetch http.*sam\.pth to this place"):
        fetch(entry_at(publisher))
    assert left_over(publisher) == []


def test_a_publisher_that_stalls_is_given_up(publisher, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(download, "TRIES", 1)
    publisher.slow.add("/sam.pth")
    with pytest.raises(WeightsError, match=r"no whole file at .*[Tt]imed? ?out"):
        fetch(entry_at(publisher))
    assert left_over(publisher) == []


def test_an_absent_file_is_told_with_what_to_do(publisher):
    with pytest.raises(WeightsError, match=r"no file at .*404") as caught:
        fetch(entry_at(publisher, "/gone.pth"))
    line = str(caught.value)
    assert str(weights_path(entry_at(publisher))) in line
    assert f"sha256 {SHA256}" in line


def test_other_content_never_gets_the_name(publisher):
    with pytest.raises(WeightsError, match=f"found sha256 {SHA256}; expected sha256 0000"):
        fetch(entry_at(publisher, digest="0" * 64))
    assert left_over(publisher) == []


def test_a_page_is_no_weight_file_even_where_no_hash_is_published(publisher):
    publisher.files["/login"] = HTML
    with pytest.raises(WeightsError, match=r"no weights .it begins b'<!DOCTYPE"):
        fetch(entry_at(publisher, "/login", digest=None))
    assert left_over(publisher) == []


def test_without_a_published_hash_the_found_one_is_told(publisher, capsys):
    fetch(entry_at(publisher, digest=None))
    assert f"sha256 {SHA256}, its publisher states no hash" in capsys.readouterr().out


def test_no_server_at_all(publisher):
    entry = replace(entry_at(publisher), source=Web("http://127.0.0.1:9/sam.pth"))
    with pytest.raises(WeightsError, match=r"no whole file at http://127.0.0.1:9/sam.pth"):
        fetch(entry)


@pytest.mark.parametrize("switch", ["CLISC_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_never_touches_the_network(publisher, monkeypatch, switch):
    monkeypatch.setenv(switch, "1")
    entry = entry_at(publisher)
    with pytest.raises(WeightsError, match=r"offline mode forbids.*fetch http"):
        fetch(entry)
    assert publisher.asked == []
    weights_path(entry).parent.mkdir()
    weights_path(entry).write_bytes(CONTENT)
    assert fetch(entry).read_bytes() == CONTENT  # put there by hand


def test_a_folder_that_cannot_be_made_is_told(publisher, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CLISC_WEIGHTS", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match="a folder that cannot be written"):
        fetch(entry_at(publisher))
    assert publisher.asked == []


def test_a_file_that_was_changed_is_refused(publisher):
    path = fetch(entry_at(publisher))
    path.write_bytes(CONTENT + b"!")
    with pytest.raises(WeightsError, match=r"stated by the test\); remove the file"):
        fetch(entry_at(publisher))


def test_a_beginning_of_a_hash_is_enough(publisher):
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


def test_a_model_of_the_hub_comes_with_its_companions(hub_entry, capsys):
    path = fetch(hub_entry)
    assert path.read_bytes() == (path.parent / "config.json").read_bytes() == CONTENT
    assert "as published" in capsys.readouterr().out  # the hub tells the hash
    assert sorted(p.name for p in path.parent.iterdir() if p.suffix != ".lock") == [
        "config.json",
        "open_clip.bin",
    ]


def test_what_the_hub_broke_off_is_resumed(publisher, hub_entry):
    weights = f"/org/model/resolve/{COMMIT}/open_clip.bin"
    publisher.files[weights] = content = b"PK" + bytes(30 << 20)  # the hub's pieces have 10 MB
    publisher.broken[weights] = 1
    with contextlib.suppress(WeightsError):  # huggingface_hub may resume by itself
        fetch(hub_entry)
    assert fetch(hub_entry).read_bytes() == content
    spans = [span for _, path, span in publisher.asked if path == weights and span]
    assert any(span != "bytes=0-" for span in spans)


def test_the_hash_of_the_registry_counts_more_than_the_hubs(hub_entry):
    entry = replace(hub_entry, digest=Digest("sha256", "0" * 64, "the test"))
    with pytest.raises(WeightsError, match="expected sha256 0000"):
        fetch(entry)
    assert not weights_path(entry).exists()


def test_a_revision_that_is_not_there_is_told(hub_entry):
    entry = replace(hub_entry, source=replace(hub_entry.source, revision="f" * 40))
    with pytest.raises(WeightsError, match=r"no whole file at the hub .*404"):
        fetch(entry)
