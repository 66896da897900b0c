"""Run jobs in this process, in a process pool or on a Dask cluster; peak memory of a process.

Each process runs one job at a time with one torch thread, so that results do not depend on where a
job runs.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from multiprocessing import current_process, get_context, parent_process
from pathlib import Path
from typing import Any

from clisc_nnunet.errors import UserError

Job = Callable[[], Any]
_JOB_LOCK = threading.Lock()
_GUARD = re.compile(r"""__name__\s*==\s*["']__main__["']|["']__main__["']\s*==\s*__name__""")


class LostProcessError(Exception):
    """The process of a job died: killed, out of memory, or crashed in a library."""


def local_pool(processes: int) -> WorkerPool:
    """Worker pool on this machine; 1 means this process. See `make_executor`."""
    check_main_guard(processes)
    return WorkerPool(lambda: make_executor(processes), lambda: processes)


def dask_pool(scheduler: str) -> WorkerPool:
    """Worker pool on a Dask cluster.

    Parameters
    ----------
    scheduler : str
        Address, such as `tcp://node1:8786`, or path of a scheduler file. Its workers need this
        package, and access to the same files under the same paths.

    Raises
    ------
    UserError
        If `distributed` is not installed, or the scheduler does not answer.
    """
    try:
        from distributed import Client
    except ImportError:
        raise UserError(
            "--scheduler",
            "no package `distributed`",
            "Dask's scheduler",
            "pip install 'clisc_nnunet[dask]'",
        ) from None
    where = {"scheduler_file": scheduler} if os.path.isfile(scheduler) else {"address": scheduler}
    try:
        client = Client(**where, timeout="30s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"--scheduler {scheduler}",
            f"no answer ({type(error).__name__})",
            "a running Dask scheduler",
            "start it, or correct the address",
        ) from None

    def max_pending() -> int:
        # One running and one waiting job per worker; the number of workers may change.
        return 2 * max(sum(client.nthreads().values()), 1)

    return WorkerPool(lambda: client.get_executor(pure=False), max_pending, client.close)


class WorkerPool:
    """Runs jobs on an executor, independently of each other, and survives dying processes.

    Parameters
    ----------
    make : callable
        Creates the executor; called again after one of its processes died.
    max_pending : callable
        Largest number of jobs to submit at a time.
    on_close : callable, optional
        Called when the context is left.
    """

    def __init__(
        self,
        make: Callable[[], Executor],
        max_pending: Callable[[], int],
        on_close: Callable[[], Any] = lambda: None,
    ) -> None:
        self._make, self._max_pending, self._on_close = make, max_pending, on_close
        self._executor: Executor | None = None

    def run(self, jobs: Mapping[str, Job]) -> Iterator[tuple[str, Any]]:
        """Yield name and result, or exception, of each job in the order of completion.

        When a process dies, it is unknown which of the pending jobs is the cause. Each of them is
        therefore run again by itself; if its process dies again, it yields a `LostProcessError`.
        """
        waiting = deque(jobs.items())
        pending: dict[Future[Any], tuple[str, Job]] = {}
        while waiting or pending:
            suspects = []
            while waiting and len(pending) < max(self._max_pending(), 1):
                name, job = waiting.popleft()
                try:
                    pending[self._get().submit(_run_exclusively, job)] = name, job
                except BrokenExecutor:
                    suspects.append((name, job))
                    break
            done = wait(pending, return_when=FIRST_COMPLETED).done if pending else set()
            while done:
                future = done.pop()
                name, job = pending.pop(future)
                error = _exception(future)
                if isinstance(error, BrokenExecutor):
                    suspects.append((name, job))
                    done |= wait(pending).done
                else:
                    yield name, future.result() if error is None else error
            if suspects:
                self.close()
                for name, job in suspects:
                    yield name, self._run_again(job)

    def close(self) -> None:
        """Shut down the executor; the next job creates a new one."""
        if isinstance(self._executor, ProcessPoolExecutor):
            self._executor.shutdown(cancel_futures=True)
        elif self._executor is not None:  # Dask's executor cannot cancel pending jobs otherwise
            self._executor.shutdown(wait=False)
        self._executor = None

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._on_close()

    def _get(self) -> Executor:
        if self._executor is None:
            self._executor = self._make()
        return self._executor

    def _run_again(self, job: Job) -> Any:
        future = self._get().submit(_run_exclusively, job)
        error = _exception(future)
        if isinstance(error, BrokenExecutor):
            self.close()
            return LostProcessError("its process died twice; possibly out of memory")
        return future.result() if error is None else error


def check_main_guard(processes: int) -> None:
    """Check that worker processes can import the script that was started.

    Each of them imports it first (Python's start method `spawn`), and would make the same calls
    again if they were not under `if __name__ == "__main__":`.

    Parameters
    ----------
    processes : int
        With 1, none is started, and nothing is checked.

    Raises
    ------
    UserError
        If the script has no such line, or a worker process is just importing it.
    """
    if processes == 1:
        return
    main = sys.modules["__main__"]
    # The standard library makes the same check where a process starts, with a longer message.
    if getattr(current_process(), "_inheriting", False):
        raise UserError(
            sys.argv[0],
            'a call outside of `if __name__ == "__main__":`',
            "a call inside, since worker processes import the script",
            "move it, or use processes=1",
        )
    # Modules `PACKAGE.__main__` are not imported, and there is no file in a notebook.
    file = getattr(main, "__file__", None)
    name = getattr(getattr(main, "__spec__", None), "name", "")
    if file is None or name == "__main__" or name.endswith(".__main__"):
        return
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return  # not a script
    if not _GUARD.search(text):
        raise UserError(
            file,
            'no `if __name__ == "__main__":`',
            "calls under such a line, since worker processes import the script",
            "add it, or use processes=1",
        )


def make_executor(processes: int) -> Executor:
    """Executor with a number of processes; 1 means this process.

    Raises
    ------
    UserError
        See `check_main_guard`.
    """
    if processes == 1:
        return SerialExecutor()
    check_main_guard(processes)
    # Forked processes can deadlock in threads of torch or ITK.
    return ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_start_process
    )


class SerialExecutor(Executor):
    """Executor that runs each job immediately in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run the job and return a finished future with its result or exception."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def peak_memory_gb() -> float | None:
    """Peak memory of this process plus that of its largest finished child, in GB.

    None on Windows, which does not report it.
    """
    if sys.platform == "win32":
        return None
    import resource

    # Linux reports kilobytes, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return round(sum(resource.getrusage(w).ru_maxrss for w in who) * unit / 1e9, 2)


def _run_exclusively(job: Job) -> Any:
    """Run a job exclusively in its process, with one torch thread."""
    import torch

    with _JOB_LOCK:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return job()
        finally:
            torch.set_num_threads(threads)


def _exception(future: Future[Any]) -> BaseException | None:
    try:
        return future.exception()
    except CancelledError:
        raise UserError(
            "the executor",
            "a cancelled job",
            "a scheduler that runs until the end",
            "check the cluster, then resume with --continue",
        ) from None


def _start_process() -> None:
    """Initialise a worker process: filter a warning, and exit when the parent is killed."""
    # open_clip uses a part of torch that warns at import.
    warnings.filterwarnings("ignore", message=".*torch.jit.*", category=FutureWarning)
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
