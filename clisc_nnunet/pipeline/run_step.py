"""A stage that processes one case at a time: declared once, run by a single loop.

Loading inputs, fingerprints, reuse, failures and saving are handled here and in `case_tracker`;
the step itself is a function (config, case, arrays of the inputs) -> result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from clisc_nnunet.io.volume import recording
from clisc_nnunet.pipeline.case_tracker import CaseTracker
from clisc_nnunet.pipeline.config import CaseInput, RunConfig
from clisc_nnunet.pipeline.result_cache import Fingerprint
from clisc_nnunet.processes import WorkerPool


def save_arrays(
    config: RunConfig,
    case: CaseInput,
    stage: str,
    fingerprint: Fingerprint,
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Save the arrays of a result as `clisc/stages/CASE/STAGE.npz`; the default of `CaseStep`."""
    config.cache.save(case.name, stage, fingerprint, arrays)


def cache_mismatch(
    config: RunConfig, case: CaseInput, stage: str, fingerprint: Fingerprint
) -> str | None:
    """Reason to run a step again, or None; see `ResultCache.mismatch`."""
    return config.cache.mismatch(case.name, stage, fingerprint)


@dataclass(frozen=True)
class CaseStep:
    """One stage of the method for one case.

    Parameters
    ----------
    name : str
        File name of the result in `clisc/stages/CASE`, one of `case_tracker.STAGES`.
    title : str
        Label of the progress bar.
    run : callable
        (config, case, *input arrays) -> result; called in a worker process.
    fingerprint : callable
        (config, case, input signatures) -> Fingerprint.
    inputs : tuple of str
        Earlier stages of the case whose arrays are passed to `run`.
    workers : {"models", "scans"}
        Worker pool: that of the models' device, or that for reading and writing scans.
    save : callable
        (config, case, name, fingerprint, result) -> value passed to the main process.
    mismatch : callable
        (config, case, name, fingerprint) -> reason to run again, or None.
    """

    name: str
    title: str
    run: Callable[..., Any]
    fingerprint: Callable[[RunConfig, CaseInput, tuple[str, ...]], Fingerprint]
    inputs: tuple[str, ...] = ()
    workers: Literal["models", "scans"] = "models"
    save: Callable[[RunConfig, CaseInput, str, Fingerprint, Any], Any] = save_arrays
    mismatch: Callable[[RunConfig, CaseInput, str, Fingerprint], str | None] = cache_mismatch


@dataclass(frozen=True)
class StepOutput:
    """Result passed to the main process: files read by the worker, and the value from `save`."""

    files_read: tuple[str, ...]
    value: Any


def run_step(
    step: CaseStep,
    cases: Sequence[CaseInput],
    config: RunConfig,
    tracker: CaseTracker,
    pool: WorkerPool,
) -> dict[str, StepOutput]:
    """Run a step for all cases without a valid cached result; failing cases do not stop others.

    Returns
    -------
    dict of case name to StepOutput
        Cases for which the step was run.
    """
    by_name = {case.name: case for case in cases}
    jobs = {}
    for case in cases:
        signatures = tuple(tracker.signatures[case.name, stage] for stage in step.inputs)
        fingerprint = step.fingerprint(config, case, signatures)
        inputs = tuple(zip(step.inputs, signatures, strict=True))
        jobs[case.name] = (
            fingerprint,
            partial(_run_case, step.run, step.save, step.name, config, case, inputs, fingerprint),
        )

    def mismatch(name: str, fingerprint: Fingerprint) -> str | None:
        return step.mismatch(config, by_name[name], step.name, fingerprint)

    return tracker.run(step.name, step.title, pool, jobs, mismatch)


def _run_case(
    run: Callable[..., Any],
    save: Callable[..., Any],
    stage: str,
    config: RunConfig,
    case: CaseInput,
    inputs: Sequence[tuple[str, str]],
    fingerprint: Fingerprint,
) -> StepOutput:
    """Load the inputs, run the step, save its result; called in a worker."""
    arrays = [config.cache.require(case.name, name, signature) for name, signature in inputs]
    with recording() as read:
        result = run(config, case, *arrays)
    value = save(config, case, stage, fingerprint, result)
    return StepOutput(tuple(read), value)
