import os
from pathlib import Path

import pytest
import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler

from clisc_nnunet.trainers.checkpoints import (
    RestartedPolyLR,
    keep_copy,
    read_entry,
    restart_network,
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


def test_the_rate_restarts_and_ends_at_the_end_of_the_schedule():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = RestartedPolyLR(optimizer, 0.01, first=6, last=10)
    rates = []
    for epoch in range(6, 11):
        schedule.step(epoch)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[0] == 0.01
    assert rates[2] == pytest.approx(0.01 * 0.5**0.9)
    assert rates[-1] == 0
    assert rates == sorted(rates, reverse=True)


def test_each_rate_is_nnunets_for_a_schedule_that_is_the_rest():
    ours, theirs = (torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0) for _ in "ab")
    restarted = RestartedPolyLR(ours, 0.01, first=500, last=1000)
    stock = PolyLRScheduler(theirs, 0.01, 500)
    for epoch in (0, 1, 250, 499):
        restarted.step(500 + epoch)
        stock.step(epoch)
        assert ours.param_groups[0]["lr"] == theirs.param_groups[0]["lr"] > 0
        assert restarted.get_last_lr() == [ours.param_groups[0]["lr"]]


def test_before_the_restart_the_rate_is_the_first():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = RestartedPolyLR(optimizer, 0.01, first=6, last=10)
    schedule.step(3)
    assert optimizer.param_groups[0]["lr"] == 0.01


class Wrapped(torch.nn.Module):
    """As DistributedDataParallel holds a network."""

    def __init__(self, inner):
        super().__init__()
        self.module = inner


def compiled(network):
    return torch.compile(network, backend="eager")


@pytest.mark.parametrize(
    "wrap",
    [lambda network: network, Wrapped, compiled, lambda network: Wrapped(compiled(network))],
    ids=["plain", "distributed", "compiled", "both"],
)
def test_a_network_gets_fresh_weights_however_it_is_wrapped(wrap):
    old, fresh = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    parameters, wanted = list(old.parameters()), fresh.weight.clone()
    restart_network(wrap(old), fresh)
    assert torch.equal(old.weight, wanted) and torch.equal(old.bias, fresh.bias)
    # The optimizer goes on with the same parameters; learning does not reach the fresh ones.
    assert all(a is b for a, b in zip(parameters, old.parameters(), strict=True))
    with torch.no_grad():
        old.weight.add_(1)
    assert torch.equal(fresh.weight, wanted)


def test_a_network_of_another_shape_is_refused():
    with pytest.raises(RuntimeError, match="size mismatch"):
        restart_network(torch.nn.Linear(3, 2), torch.nn.Linear(4, 2))
