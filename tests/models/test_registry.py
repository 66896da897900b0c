import re

import pytest

from clisc_nnunet.models.registry import ENTRIES, Hub, Package, Web, entry_of_file, weights_folder


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=list(ENTRIES))
def test_an_entry_is_whole(entry):
    assert entry.what and entry.licence and entry.citation and entry.megabytes > 0
    assert re.fullmatch(r"https://\S+|pip install \S+", entry.source.address)
    assert isinstance(entry.source, Hub | Web | Package)
    if isinstance(entry.source, Hub):
        assert re.fullmatch("[0-9a-f]{40}", entry.source.revision)  # never a branch
    if entry.digest is not None:
        assert re.fullmatch("[0-9a-f]{6,64}", entry.digest.begins)
        assert entry.digest.stated


def test_hashes_that_addresses_hold_are_those_of_the_entries():
    for name in ("ViT-B-32.pt", "ViT-B-16.pt", "ViT-L-14.pt"):
        entry = ENTRIES[name]
        assert entry.source.url.split("/")[-2] == entry.digest.begins
    entry = ENTRIES["resnet50"]
    assert re.split("[-_.]", entry.source.url)[-2] == entry.digest.begins


def test_hashes_are_whole_unless_their_publisher_states_a_part():
    length = {"sha256": 64, "md5": 32}
    parts = [e.name for e in ENTRIES.values() if len(e.digest.begins) < length[e.digest.algorithm]]
    assert parts == ["resnet50", "efficientnet-lite0"]
    whole = [e.digest.begins for e in ENTRIES.values()]
    assert len(set(whole)) == len(whole)  # none is another's, copied


def test_a_file_with_a_publishers_name_is_taken_for_its_own(tmp_path):
    assert entry_of_file(tmp_path / "medsam_vit_b.pth", "sam") is ENTRIES["medsam"]
    assert entry_of_file(tmp_path / "medsam_vit_b.pth", "clip") is None
    assert entry_of_file(tmp_path / "mine.pth", "sam") is None


def test_the_folder_is_the_users_or_the_platforms(tmp_path, monkeypatch):
    monkeypatch.setenv("CLISC_WEIGHTS", str(tmp_path))
    assert weights_folder() == tmp_path
    monkeypatch.delenv("CLISC_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert weights_folder().name == "clisc_nnunet"
