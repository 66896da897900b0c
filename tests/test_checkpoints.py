import pytest
import torch

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


def test_a_copy_outlives_the_next_save(tmp_path):
    path = tmp_path / "checkpoint_latest.pth"
    save_with_entry(saving({}), str(path), "clisc", "before")
    keep_copy(path, "kept.pth")
    save_with_entry(saving({}), str(path), "clisc", "after")
    assert read_entry(str(tmp_path / "kept.pth"), "clisc") == "before"
    keep_copy(path, "kept.pth")
    assert read_entry(str(tmp_path / "kept.pth"), "clisc") == "after"


def test_a_copy_is_made_where_links_are_unknown(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint_latest.pth"
    save_with_entry(saving({}), str(path), "clisc", 1)
    monkeypatch.setattr("os.link", lambda *_: (_ for _ in ()).throw(OSError))
    keep_copy(path, "kept.pth")
    assert read_entry(str(tmp_path / "kept.pth"), "clisc") == 1


def test_the_rate_starts_anew_and_ends_at_the_end_of_the_schedule():
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


def test_a_wrapped_network_gets_fresh_weights():
    class Wrapped(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.module = inner

    old, fresh = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    restart_network(Wrapped(old), fresh)
    assert torch.equal(old.weight, fresh.weight)
    assert old.weight is not fresh.weight
