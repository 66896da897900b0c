import re

import pytest

from clisc_nnunet.models.registry import ENTRIES, Hub, Web, entry_of_file, weights_folder


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=list(ENTRIES))
def test_entries_are_complete(entry):
    assert entry.what and entry.licence and entry.citation and entry.megabytes > 0
    assert re.fullmatch(r"https://\S+", entry.source.address)
    assert isinstance(entry.source, Hub | Web)
    if isinstance(entry.source, Hub):
        assert re.fullmatch("[0-9a-f]{40}", entry.source.revision)  # never a branch
    if entry.digest is not None:
        assert re.fullmatch("[0-9a-f]{6,64}", entry.digest.begins)
        assert entry.digest.stated


def test_hashes_in_urls_equal_those_of_the_entries():
    for name in ("ViT-B-32.pt", "ViT-B-16.pt", "ViT-L-14.pt"):
        entry = ENTRIES[name]
        assert entry.source.url.split("/")[-2] == entry.digest.begins
    entry = ENTRIES["resnet50"]
    assert re.split("[-_.]", entry.source.url)[-2] == entry.digest.begins


def test_hashes_are_complete_unless_the_publisher_abbreviates():
    length = {"sha256": 64, "md5": 32}
    parts = [e.name for e in ENTRIES.values() if len(e.digest.begins) < length[e.digest.algorithm]]
    assert parts == ["resnet50"]
    hashes = [e.digest.begins for e in ENTRIES.values()]
    assert len(set(hashes)) == len(hashes)


def test_a_file_is_matched_to_an_entry_by_its_name(tmp_path):
    assert entry_of_file(tmp_path / "medsam_vit_b.pth", "sam") is ENTRIES["medsam"]
    assert entry_of_file(tmp_path / "medsam_vit_b.pth", "clip") is None
    assert entry_of_file(tmp_path / "mine.pth", "sam") is None


def test_the_weights_folder_can_be_set(tmp_path, monkeypatch):
    monkeypatch.setenv("CLISC_WEIGHTS", str(tmp_path))
    assert weights_folder() == tmp_path
    monkeypatch.delenv("CLISC_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert weights_folder().name == "clisc_nnunet"
