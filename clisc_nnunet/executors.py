"""Where the work on scan files runs: in this process, or in several."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any


class InThisProcess(Executor):
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
        return InThisProcess()
    # A forked process may deadlock in the threads of torch or ITK.
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
