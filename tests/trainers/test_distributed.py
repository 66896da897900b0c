import json
import time
from datetime import timedelta

import torch.distributed as dist
import torch.multiprocessing as mp

from clisc_nnunet.trainers.distributed import ProcessGroup


def test_alone_everything_falls_to_this_process():
    group = ProcessGroup.of_this_process()
    assert group == ProcessGroup(0, 1)
    assert group.share(["a", "b"]) == ["a", "b"]
    assert group.gather({"b": 1, "a": 2}) == {"a": 2, "b": 1}
    assert list(group.gather({"b": 1, "a": 2})) == ["a", "b"]
    assert group.broadcast("x") == "x"
    group.barrier()


def test_shares_are_all_cases_once():
    cases = [str(k) for k in range(7)]
    shares = [ProcessGroup(rank, 3).share(cases) for rank in range(3)]
    assert sorted(case for share in shares for case in share) == cases
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert cases == [str(k) for k in range(7)]


def test_there_may_be_fewer_cases_than_processes():
    assert [ProcessGroup(rank, 3).share(["a"]) for rank in range(3)] == [["a"], [], []]


def _work(rank, folder):
    dist.init_process_group(
        "gloo", f"file://{folder}/meeting", timedelta(seconds=60), world_size=2, rank=rank
    )
    group = ProcessGroup.of_this_process()
    own = {case: [rank, case] for case in (["d", "b"] if rank == 0 else ["c", "a"])}
    gathered = group.gather(own)
    broadcast = group.broadcast({"round": 1} if rank == 0 else None)
    if rank == 1:
        time.sleep(0.3)
        (folder / "late").touch()
    group.barrier()
    found = {
        "group": [group.rank, group.size],
        "gathered": list(gathered.items()),
        "broadcast": broadcast,
        "own": sorted(own),
        "waited": (folder / "late").exists(),
    }
    (folder / f"rank{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


def test_two_processes_know_the_same(tmp_path):
    mp.spawn(_work, args=(tmp_path,), nprocs=2)
    first, second = (json.loads((tmp_path / f"rank{k}.json").read_text()) for k in (0, 1))
    assert first["group"] == [0, 2] and second["group"] == [1, 2]
    everything = [["a", [1, "a"]], ["b", [0, "b"]], ["c", [1, "c"]], ["d", [0, "d"]]]
    assert first["gathered"] == second["gathered"] == everything
    assert first["broadcast"] == second["broadcast"] == {"round": 1}
    assert (first["own"], second["own"]) == (["b", "d"], ["a", "c"])
    assert first["waited"] and second["waited"]
