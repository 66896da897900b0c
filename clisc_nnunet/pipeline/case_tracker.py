"""State of the cases of a run: which results are reused, which cases were skipped and why."""

from __future__ import annotations

import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from clisc_nnunet.errors import ScanError, UserError
from clisc_nnunet.pipeline.result_cache import Fingerprint, ResultCache
from clisc_nnunet.processes import Job, WorkerPool

# Stages with a result per case, in order.
STAGES = (
    "slices", "channels", "labels", "raw_trials", "raw_regions", "enhanced_trials",
    "enhanced_regions", "masks", "label", "images",
)  # fmt: skip
# Records beside the results of a case: why it was skipped; and the stage at which it was once
# skipped, if it was retried after the other cases had continued without it.
FAILURE, RETRIED = "failure", "late"

Mismatch = Callable[[str, Fingerprint], str | None]


@dataclass
class CaseTracker:
    """Cases of a run, sorted by name, with their failures and signatures.

    Parameters
    ----------
    cache : ResultCache
        Also stores failures, with the signature of the failed step, so that it is not run again.
    retry : bool
        Retry cases that were skipped in an earlier run.
    """

    cache: ResultCache
    retry: bool = False
    cases: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    signatures: dict[tuple[str, str], str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """One line per stage on the results reused from an earlier run."""

    def run(
        self,
        stage: str,
        title: str,
        pool: WorkerPool,
        jobs: Mapping[str, tuple[Fingerprint, Job]],
        mismatch: Mismatch,
    ) -> dict[str, Any]:
        """Run a stage for the cases without a valid cached result.

        Parameters
        ----------
        stage : str
            One of `STAGES`.
        title : str
            Label of the progress bar.
        mismatch : callable
            Reason to run the job of a case, or None; see `ResultCache.mismatch`.

        Returns
        -------
        dict
            Results by case, of the jobs that were run.

        Raises
        ------
        UserError
            For errors that concern more than one case, such as a full disk.
        """
        to_do, reasons = {}, Counter[str | None]()
        for case, (fingerprint, job) in jobs.items():
            self.signatures[case, stage] = fingerprint.signature
            if self._failed_before(case, stage, fingerprint):
                continue
            why = mismatch(case, fingerprint)
            reasons[why] += 1
            if why is not None:
                to_do[case] = job
        self._note(title, len(jobs), reasons)
        results = {}
        work = pool.run(to_do)
        for case, result in tqdm(work, f"{title:>15}", len(to_do), unit="case", disable=not to_do):
            if isinstance(result, BaseException):
                self._failed(case, stage, title, result)
            else:
                results[case] = result
        return results

    def refuse(self, case: str, reason: str) -> None:
        """Skip a case before its first stage; the next run tries to read it again."""
        self.cache.write_record(case, FAILURE, {"stage": STAGES[0], "reason": reason})
        self.skip(case, reason)

    def skip(self, case: str, reason: str) -> None:
        """Remove a case from the run; the others continue."""
        self.failures[case] = reason
        self.cases = [other for other in self.cases if other != case]
        tqdm.write(f"skipped: {reason}", file=sys.stderr)

    def require_a_case(self) -> None:
        """Stop if every case was skipped.

        Raises
        ------
        UserError
        """
        if not self.cases:
            first = next(iter(self.failures.values()), "no scan was found")
            found = f"no usable scan among {len(self.failures)} ({first})"
            raise UserError(
                "the scans", found, "at least one usable scan", "fix or replace the files"
            )

    def never_skipped(self, last: str) -> list[str]:
        """Cases that were never skipped up to this stage, i.e. those without a retry mark."""
        stages = STAGES[: STAGES.index(last) + 1]
        retried = {
            case
            for case in self.cache.cases_with(f"{RETRIED}.json")
            if self.cache.read_record(case, RETRIED).get("stage") in stages
        }
        return [case for case in self.cases if case not in retried]

    def clear_retry_marks(self) -> None:
        """Clear all retry marks; the classifiers are about to be retrained on every case."""
        for case in self.cases:
            self.cache.forget_record(case, RETRIED)

    def signatures_of(self, stage: str, cases: Iterable[str]) -> list[str]:
        """Signatures of a stage's results, in the order of the cases."""
        return [self.signatures[case, stage] for case in cases]

    def _failed_before(self, case: str, stage: str, fingerprint: Fingerprint) -> bool:
        record = self.cache.read_record(case, FAILURE)
        if record.get("stage") != stage:
            return False
        if self.retry:
            # Even if the scan was replaced: the other cases continued without this one.
            self.cache.write_record(case, RETRIED, {"stage": stage})
        elif record.get("signature") == fingerprint.signature:
            self.skip(case, str(record["reason"]))
            return True
        self.cache.forget_record(case, FAILURE)
        return False

    def _failed(self, case: str, stage: str, title: str, error: BaseException) -> None:
        if isinstance(error, UserError) and not isinstance(error, ScanError):
            raise error
        record = {"stage": stage, "signature": self.signatures[case, stage]}
        if isinstance(error, ScanError):
            reason = str(error)
        else:
            first = (str(error).strip() or "no message").splitlines()[0]
            reason = f"{case}: {title} failed: {type(error).__name__}: {first}"
            record["traceback"] = "".join(traceback.format_exception(error))
        self.cache.write_record(case, FAILURE, {**record, "reason": reason})
        self.skip(case, reason)

    def _note(self, title: str, count: int, reasons: Counter[str | None]) -> None:
        """Report how many results of an earlier run are reused, if there are any."""
        line = kept_line(count, reasons)
        if line:
            self.note(f"{title}: {line}")

    def note(self, line: str) -> None:
        """Print a line on the reuse of earlier results, and keep it for the record of the run."""
        self.notes.append(line)
        tqdm.write(line, file=sys.stdout)


def kept_line(count: int, reasons: Counter[str | None]) -> str:
    """Readable counts of reused and recomputed results; empty if there were no earlier results.

    Parameters
    ----------
    count : int
        Number of cases.
    reasons : Counter
        Values of `ResultCache.mismatch` of these cases.
    """
    again = {why: n for why, n in reasons.most_common() if why}
    if not reasons[None] and not again:
        return ""
    parts = [f"{reasons[None]} of {count} kept"]
    parts += [f"{n} made again ({why})" for why, n in again.items()]
    parts += [f"{reasons['']} to be made"] if reasons[""] else []
    return "; ".join(parts)
