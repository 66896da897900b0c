import math
import os
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from clisc_nnunet.errors import ScanError, UserError
from clisc_nnunet.processes import (
    LostProcessError,
    dask_pool,
    local_pool,
    make_executor,
    peak_memory_gb,
)


def fail(path):
    raise ScanError(path, "x", "y", "z")


def crash():
    os._exit(7)


def crash_once(flag):
    if not flag.exists():
        flag.touch()
        os._exit(7)
    return "done"


def threads():
    return torch.get_num_threads()


@pytest.mark.parametrize("processes", [1, 2])
def test_results_and_errors_are_returned(processes):
    with make_executor(processes) as executor:
        assert [executor.submit(math.sqrt, n).result() for n in (4, 9)] == [2, 3]
        with pytest.raises(ScanError, match=r"a\.nii: found x; expected y; z") as caught:
            executor.submit(fail, "a.nii").result()
    assert caught.value.hint == "z"


@pytest.mark.parametrize(
    ("script", "line"),
    [
        (
            "{}",
            'script.py: found no `if __name__ == "__main__":`; expected calls under such a line',
        ),
        ("{}\nif __name__ == '__main__': pass", "script.py: found a call outside of `if __name__"),
        ("if '__main__' == __name__:\n    {}", ""),
    ],
)
def test_a_script_whose_calls_are_not_guarded_is_one_line(script, line, tmp_path):
    path = tmp_path / "script.py"
    call = "print(*make_executor(2).map(abs, [-1, -2]))"
    path.write_text("from clisc_nnunet.processes import make_executor\n" + script.format(call))
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False)
    if line:
        assert f"UserError: {tmp_path}/{line}" in done.stderr and done.returncode == 1
    else:
        assert done.stdout == "1 2\n", done.stderr


def test_a_failing_job_does_not_stop_the_others():
    jobs = {"a": partial(math.sqrt, 4), "b": partial(fail, "b.nii"), "c": partial(math.sqrt, 9)}
    with local_pool(1) as pool:
        results = dict(pool.run(jobs))
    assert (results["a"], results["c"]) == (2, 3)
    assert isinstance(results["b"], ScanError)


def test_a_job_runs_on_one_thread_and_the_setting_is_restored():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with local_pool(1) as pool:
            assert dict(pool.run({"a": threads})) == {"a": 1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_dying_process_fails_only_its_own_job(tmp_path):
    jobs = {str(n): partial(math.sqrt, n) for n in range(6)}
    roots = {str(n): math.sqrt(n) for n in range(6)}
    with local_pool(2) as pool:
        results = dict(pool.run(jobs | {"crash": crash}))
        # In a separate run, since another dying job would use up the retry.
        again = dict(pool.run(jobs | {"once": partial(crash_once, tmp_path / "flag")}))
    assert isinstance(results.pop("crash"), LostProcessError)
    assert again.pop("once") == "done"
    assert results == again == roots


def test_dask_without_a_scheduler_is_reported(monkeypatch):
    distributed = pytest.importorskip("distributed")

    def no_answer(**_):
        raise OSError("no answer")

    monkeypatch.setattr(distributed, "Client", no_answer)
    with pytest.raises(UserError, match="a running Dask scheduler"):
        dask_pool("tcp://127.0.0.1:1")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no resource module")
@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1)])
def test_peak_memory_is_that_of_this_process_and_its_children(monkeypatch, platform, unit):
    import resource

    peaks = {resource.RUSAGE_SELF: 3e9 / unit, resource.RUSAGE_CHILDREN: 1.5e9 / unit}
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=peaks[who]))
    assert peak_memory_gb() == 4.5
