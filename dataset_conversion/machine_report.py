"""Output of `--report`: how a call ended, for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clisc_nnunet import __version__
from clisc_nnunet.errors import (
    EXIT_BAD_INPUT,
    EXIT_CANNOT_WRITE,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_NO_TUMOUR,
    EXIT_SOME_CASES_FAILED,
    UserError,
)
from clisc_nnunet.io.atomic_write import write_text
from clisc_nnunet.pipeline.case_result import STATUSES, CaseOutcome

STATUS = {
    EXIT_DONE: "done",
    EXIT_BAD_INPUT: "bad input",
    EXIT_SOME_CASES_FAILED: "some cases failed",
    EXIT_NO_TUMOUR: "no tumour",
    EXIT_CANNOT_WRITE: "cannot write",
    EXIT_INTERRUPTED: "interrupted",
}


def machine_report(
    command: str,
    exit_status: int,
    outcomes: Sequence[CaseOutcome],
    dataset: Path | None = None,
    error: BaseException | None = None,
    phantoms: int = 0,
) -> dict[str, Any]:
    """How a call ended.

    Parameters
    ----------
    exit_status : int
        1 means a bug in this software.
    outcomes : sequence of CaseOutcome
        As far as known.
    error : exception, optional
        Exception that ended the call.
    phantoms : int
        Number of phantoms in the dataset, which no other number contains.
    """
    shown = None
    if isinstance(error, UserError):
        shown = {key: getattr(error, key) for key in ("where", "found", "expected")}
        shown["cure"] = error.hint
    elif error is not None:
        shown = {"found": f"{type(error).__name__}: {error}"}
    counts = Counter(outcome.status for outcome in outcomes)
    return {
        "status": STATUS.get(exit_status, "crashed"),
        "exit_status": exit_status,
        "clisc_nnunet": __version__,
        "command": command,
        "dataset": None if dataset is None else str(dataset),
        "counts": {"cases": len(outcomes), **{status: counts[status] for status in STATUSES}},
        "phantoms": phantoms,
        "error": shown,
        "cases": [asdict(outcome) for outcome in outcomes],
    }


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Write the report as JSON, atomically.

    Raises
    ------
    StorageError
    """
    write_text(path, json.dumps(report, indent=1) + "\n")
