"""The command on a Dask cluster of two workers, one of which is killed during the run."""

import math
import os
import signal
import threading
import time
from functools import partial

import pytest
from helpers.quick import convert, labels

from clisc_nnunet.cli.make_phantoms import main as make_phantoms
from clisc_nnunet.errors import ScanError
from clisc_nnunet.processes import dask_pool

pytestmark = pytest.mark.slow

distributed = pytest.importorskip("distributed")


@pytest.fixture
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        yield cluster


def crash_once(flag):
    """Kill the worker in the first call."""
    if not flag.exists():
        flag.touch()
        os._exit(7)
    return "done"


def fail():
    raise ScanError("a.nii", "x", "y", "z")


def test_a_case_of_a_worker_that_died_is_taken_by_another(cluster, tmp_path):
    jobs = {str(n): partial(math.sqrt, n) for n in range(6)}
    jobs |= {"once": partial(crash_once, tmp_path / "flag"), "bad": fail}
    with dask_pool(cluster.scheduler_address) as pool:
        results = dict(pool.run(jobs))
    assert results.pop("once") == "done"
    assert str(results.pop("bad")) == "a.nii: found x; expected y; z"
    assert results == {str(n): math.sqrt(n) for n in range(6)}


def test_a_killed_worker_changes_no_label(cluster, tmp_path):
    assert make_phantoms(["-o", str(tmp_path), "-n", "3", "--spacing", "3", "--seed", "5"]) == 0
    scans, killed = tmp_path / "images", []
    assert convert(scans, tmp_path / "here") == 0
    stages = tmp_path / "there" / "Dataset501_CLISC" / "clisc" / "stages"
    with distributed.Client(cluster, set_as_default=False) as client:

        def kill():
            while not list(stages.glob("*/raw_regions.npz")):
                time.sleep(0.02)
            pid = next(iter(client.run(os.getpid).values()))
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        address = cluster.scheduler_address
        assert convert(scans, tmp_path / "there", "--scheduler", address) == 0
        killer.join(60)
    assert killed
    assert labels(tmp_path / "there") == labels(tmp_path / "here")
