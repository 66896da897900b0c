"""Where the work on cases runs: in this process, in a pool of processes, or on a Dask cluster.

Wherever it runs, a job has its process to itself and one thread to compute with, so that its
result depends on its input alone.
"""

from __future__ import annotations

import os
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
from multiprocessing import get_context, parent_process
from typing import Any

from clisc_nnunet.errors import UserError

Job = Callable[[], Any]
_ONE_AT_A_TIME = threading.Lock()


class LostProcessError(Exception):
    """The process that worked on a case died: killed, out of memory, or crashed in a library."""


class SerialExecutor(Executor):
    """Runs each job at once, here."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run the job; its result or its exception waits in the future."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def make_executor(processes: int) -> Executor:
    """Executor for `processes` processes; 1 is this one."""
    if processes == 1:
        return SerialExecutor()
    # A forked process may deadlock in the threads of torch or ITK.
    return ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_start_process
    )


class WorkerPool:
    """Works on many cases with an executor, a few at a time; a case that fails stops no other.

    Parameters
    ----------
    make : callable
        Makes the executor; called anew when a process of it has died.
    room : callable
        How many jobs may be under way; more would only wait there.
    leave : callable, optional
        Called at the end.
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
        """Name and result of each job, or the exception it ended with, as they come in.

        A job whose process died is tried once more by itself, for it is not known which of those
        under way took the process down; if that dies too, it is a `LostProcessError`.
        """
        waiting = deque(jobs.items())
        under_way: dict[Future[Any], tuple[str, Job]] = {}
        while waiting or under_way:
            suspects = []
            while waiting and len(under_way) < max(self._max_pending(), 1):
                name, job = waiting.popleft()
                try:
                    under_way[self._get().submit(_alone, job)] = name, job
                except BrokenExecutor:
                    suspects.append((name, job))
                    break
            done = wait(under_way, return_when=FIRST_COMPLETED).done if under_way else set()
            while done:
                future = done.pop()
                name, job = under_way.pop(future)
                error = _error(future)
                if isinstance(error, BrokenExecutor):
                    suspects.append((name, job))
                    done |= wait(under_way).done
                else:
                    yield name, future.result() if error is None else error
            if suspects:
                self.close()
                for name, job in suspects:
                    yield name, self._by_itself(job)

    def close(self) -> None:
        """Let the processes go; the next job starts new ones."""
        if isinstance(self._executor, ProcessPoolExecutor):
            self._executor.shutdown(cancel_futures=True)
        elif self._executor is not None:  # Dask's knows no other way to drop what is under way
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

    def _by_itself(self, job: Job) -> Any:
        future = self._get().submit(_alone, job)
        error = _error(future)
        if isinstance(error, BrokenExecutor):
            self.close()
            return LostProcessError("the process that worked on it died twice; is memory short?")
        return future.result() if error is None else error


def local_pool(processes: int) -> WorkerPool:
    """Crew of `processes` processes of this machine; 1 is this process."""
    return WorkerPool(lambda: make_executor(processes), lambda: processes)


def dask_pool(scheduler: str) -> WorkerPool:
    """Crew on a Dask cluster.

    Parameters
    ----------
    scheduler : str
        Address, such as `tcp://node1:8786`, or the path of a scheduler file. Its workers must
        have this package and see the same files under the same paths.

    Raises
    ------
    UserError
        If `distributed` is not installed, or nobody answers there.
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
            "start it, or mend the address",
        ) from None

    def max_pending() -> int:
        # One waits at each worker while another runs; workers come and go.
        return 2 * max(sum(client.nthreads().values()), 1)

    return WorkerPool(lambda: client.get_executor(pure=False), max_pending, client.close)


def _alone(job: Job) -> Any:
    """Run a job with the process to itself, on one thread."""
    import torch

    with _ONE_AT_A_TIME:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return job()
        finally:
            torch.set_num_threads(threads)


def _error(future: Future[Any]) -> BaseException | None:
    try:
        return future.exception()
    except CancelledError:
        raise UserError(
            "the executor",
            "work that was cancelled",
            "a scheduler that lives as long as the run",
            "look after the cluster, then go on with --continue",
        ) from None


def _start_process() -> None:
    """End this process when its parent has been killed, which nobody else would do."""
    # open_clip still uses a part of torch that warns at import; a user can do nothing about it.
    warnings.filterwarnings("ignore", message=".*torch.jit.*", category=FutureWarning)
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def peak_memory_gb() -> float | None:
    """Most memory that this process and a child it waited for have held so far, in GB.

    None on Windows, which does not tell.
    """
    if sys.platform == "win32":
        return None
    import resource

    # Linux counts kilobytes, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return round(sum(resource.getrusage(w).ru_maxrss for w in who) * unit / 1e9, 2)
