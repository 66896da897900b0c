import os
from pathlib import Path

import pytest
import torch

from clisc_nnunet.trainers.checkpoints import (
    keep_copy,
    read_entry,
    save_with_entry,
)


def saving(content):
    return lambda path: torch.save(content, path)


def test_the_entry_is_added_and_the_rest_stays(tmp_path):
    path = tmp_path / "c.pth"
    save_with_entry(saving({"network_weights": torch.ones(2)}), str(path), "clisc", {"rounds": [1]})
    assert read_entry(str(path), "clisc") == {"rounds": [1]}
    assert torch.equal(torch.load(path)["network_weights"], torch.ones(2))
    assert read_entry(str(path), "other") is None
    assert [p.name for p in tmp_path.iterdir()] == ["c.pth"]


def test_a_save_that_fails_leaves_the_old_checkpoint(tmp_path):
    path = tmp_path / "c.pth"
    save_with_entry(saving({}), str(path), "clisc", 1)

    def failing(target):
        torch.save({}, target)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        save_with_entry(failing, str(path), "clisc", 2)
    assert read_entry(str(path), "clisc") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["c.pth"]


@pytest.mark.parametrize("old", [True, False])
def test_an_entry_that_cannot_be_added_leaves_things_as_they_were(tmp_path, monkeypatch, old):
    path = tmp_path / "c.pth"
    if old:
        save_with_entry(saving({"weights": 1}), str(path), "clisc", 1)
    save = torch.save

    def full(content, target):
        if "clisc" in content:
            Path(target).write_bytes(b"half")
            raise OSError("disk full")
        save(content, target)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="disk full"):
        save_with_entry(saving({"weights": 2}), str(path), "clisc", 2)
    assert [p.name for p in tmp_path.iterdir()] == (["c.pth"] if old else [])
    assert not old or torch.load(path) == {"weights": 1, "clisc": 1}


def test_nnunet_never_writes_to_the_checkpoint_itself(tmp_path):
    path, seen = tmp_path / "c.pth", []

    def save(target):
        seen.append(target)
        torch.save({"weights": torch.arange(3)}, target)
        assert not path.exists()

    save_with_entry(save, str(path), "clisc", {"rounds": []})
    assert seen == [f"{path}.part"]
    assert path.exists()


def test_a_copy_outlives_the_next_save(tmp_path):
    path = tmp_path / "checkpoint_latest.pth"
    save_with_entry(saving({}), str(path), "clisc", "before")
    keep_copy(path, "kept.pth")
    save_with_entry(saving({}), str(path), "clisc", "after")
    assert read_entry(str(tmp_path / "kept.pth"), "clisc") == "before"
    keep_copy(path, "kept.pth")
    assert read_entry(str(tmp_path / "kept.pth"), "clisc") == "after"


def test_a_copy_that_was_cut_off_is_no_obstacle(tmp_path):
    path = tmp_path / "checkpoint_latest.pth"
    save_with_entry(saving({}), str(path), "clisc", 1)
    # Cut off between the link and its new name.
    os.link(path, tmp_path / "kept.pth.part")
    keep_copy(path, "kept.pth")
    assert read_entry(str(tmp_path / "kept.pth"), "clisc") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, "kept.pth"]


def test_a_copy_stays_where_its_source_is_moved_away(tmp_path):
    path = tmp_path / "checkpoint_latest.pth"
    save_with_entry(saving({}), str(path), "clisc", 1)
    keep_copy(path, "kept.pth")
    path.unlink()
    assert read_entry(str(tmp_path / "kept.pth"), "clisc") == 1


def test_a_copy_is_made_where_links_are_unknown(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint_latest.pth"
    save_with_entry(saving({}), str(path), "clisc", 1)
    monkeypatch.setattr("os.link", lambda *_: (_ for _ in ()).throw(OSError))
    keep_copy(path, "kept.pth")
    assert read_entry(str(tmp_path / "kept.pth"), "clisc") == 1
