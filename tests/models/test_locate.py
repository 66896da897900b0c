"""Resolving names and paths given by users."""

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from clisc_nnunet.errors import WeightsError
from clisc_nnunet.models.locate import find_entry, locate
from clisc_nnunet.models.registry import ENTRIES, OPENAI_MEAN, Hub
from clisc_nnunet.models.weights import read_state


def test_a_path_can_take_the_constants_of_an_entry(tmp_path):
    path = tmp_path / "mine.pth"
    path.touch()
    plain, like = locate(str(path), "sam"), locate(f"medsam={path}", "sam")
    assert (plain.path, plain.entry, plain.name) == (path, None, str(path))
    assert (like.path, like.entry, like.name) == (path, ENTRIES["medsam"], f"medsam={path}")
    assert locate(like.name, "sam") == like


def test_a_path_may_hold_an_equals_sign(tmp_path):
    path = tmp_path / "a=b.pth"
    path.touch()
    assert locate(str(path), "sam").path == path


def test_links_in_the_hub_cache_are_not_resolved(tmp_path, monkeypatch):
    """There, files are stored as `blobs/HASH`, and `snapshots` contains links to them."""
    blob, snapshot = tmp_path / "blobs" / "e6d1", tmp_path / "snapshots" / "a6f5"
    blob.parent.mkdir()
    snapshot.mkdir(parents=True)
    save_file({"layer.weight": torch.ones(3)}, str(blob))
    (snapshot / "open_clip_model.safetensors").symlink_to(blob)
    monkeypatch.chdir(snapshot)
    found = locate("../a6f5/open_clip_model.safetensors", "clip")
    assert found.path == snapshot / "open_clip_model.safetensors"
    assert read_state(found.path).keys() == {"layer.weight"}


def test_unknown_names_are_rejected():
    with pytest.raises(WeightsError, match=r"one of bundled, sam_vit_b, .*medsam, or a file"):
        locate("sam_vit_x", "sam")
    with pytest.raises(WeightsError, match=r"none\.pth: found no such file"):
        locate("medsam=/nowhere/none.pth", "sam")


def test_an_unknown_tag_lists_the_known_ones():
    with pytest.raises(WeightsError, match=r"an unknown tag.* laion2b_s34b_b79k"):
        locate("ViT-B-32/laion2b", "clip")
    with pytest.raises(WeightsError, match="neither a known sam nor a file"):
        locate("ViT-B-32/laion2b", "sam")


def test_a_name_is_valid_for_its_own_role_only():
    with pytest.raises(WeightsError, match="neither a known clip nor a file"):
        locate("sam_vit_b", "clip")


def test_every_open_clip_tag_is_an_entry():
    for architecture, tag in open_clip.list_pretrained():
        entry = find_entry(f"{architecture}/{tag}")
        assert entry is not None and entry.role == "clip"
        assert entry.source.address.startswith("https://")
    entry = find_entry("ViT-B-32/laion2b_s34b_b79k")
    assert isinstance(entry.source, Hub) and entry.source.file.endswith(".safetensors")
    assert (entry.input_size, entry.mean, entry.quick_gelu) == (224, OPENAI_MEAN, False)
    assert find_entry("ViT-B-32/openai").quick_gelu


def test_open_clip_releases_have_the_hash_in_their_name():
    entry = find_entry("RN50/yfcc15m")
    assert entry.digest is None or entry.digest.begins == "455df137"
    assert find_entry("no/such") is None
