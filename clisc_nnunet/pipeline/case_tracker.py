"""Who takes part in a run: what of each case is kept, what is made, who is set aside and why."""

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
# Records beside the results of a case: why it was set aside; at which stage it once was, if it
# came in again after others had gone on without it.
FAILURE, LATE = "failure", "late"

Mismatch = Callable[[str, Fingerprint], str | None]


@dataclass
class CaseTracker:
    """Cases of a run, by name in order.

    Parameters
    ----------
    store : Store
        A failure is kept there, signed as a result is: the same work is not tried again.
    retry : bool
        Try again what was set aside before.
    """

    cache: ResultCache
    retry: bool = False
    cases: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    signatures: dict[tuple[str, str], str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What was kept and what was not, a line per stage."""

    def run(
        self,
        stage: str,
        title: str,
        pool: WorkerPool,
        jobs: Mapping[str, tuple[Fingerprint, Job]],
        mismatch: Mismatch | None = None,
    ) -> dict[str, Any]:
        """Do a stage for some cases, as far as no earlier result matches its recipe.

        Parameters
        ----------
        stage : str
            One of `STAGES`.
        title : str
            For the screen.
        crew : Crew
            Does the work.
        jobs : mapping of case to recipe and work
        mismatch : callable, optional
            Says why the result of a case is to be made, as `Store.mismatch` does.

        Returns
        -------
        dict
            What the work returned, for the cases it was done for.

        Raises
        ------
        UserError
            For a fault that is not one case's, such as a full disk.
        """
        mismatch = mismatch or (
            lambda case, fingerprint: self.cache.mismatch(case, stage, fingerprint)
        )
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
        """Set a case aside before its first stage; whenever it can be read, it is tried again."""
        self.cache.write_record(case, FAILURE, {"stage": STAGES[0], "reason": reason})
        self.set_aside(case, reason)

    def set_aside(self, case: str, reason: str) -> None:
        """Take a case out of the run; the others go on."""
        self.failures[case] = reason
        self.cases = [other for other in self.cases if other != case]
        tqdm.write(f"set aside: {reason}", file=sys.stderr)

    def require_a_case(self) -> None:
        """Refuse to go on when every case was set aside.

        Raises
        ------
        UserError
        """
        if not self.cases:
            first = next(iter(self.failures.values()), "there was none")
            found = f"no usable scan among {len(self.failures)} ({first})"
            raise UserError("the scans", found, "one at least", "mend or replace them")

    def on_time(self, last: str) -> list[str]:
        """Cases but those that were once set aside at this stage or before, and came in later."""
        stages = STAGES[: STAGES.index(last) + 1]
        late = {
            case
            for case in self.cache.cases_with(f"{LATE}.json")
            if self.cache.read_record(case, LATE).get("stage") in stages
        }
        return [case for case in self.cases if case not in late]

    def forget_latecomers(self) -> None:
        """Nobody is late any more: what the others learnt is learnt anew, with everybody."""
        for case in self.cases:
            self.cache.forget_record(case, LATE)

    def signatures_of(self, stage: str, cases: Iterable[str]) -> list[str]:
        """Signatures of a stage's results."""
        return [self.signatures[case, stage] for case in cases]

    def _failed_before(self, case: str, stage: str, fingerprint: Fingerprint) -> bool:
        record = self.cache.read_record(case, FAILURE)
        if record.get("stage") != stage:
            return False
        if self.retry:
            # Also with another scan in its place: the others went on without this case.
            self.cache.write_record(case, LATE, {"stage": stage})
        elif record.get("signature") == fingerprint.signature:
            self.set_aside(case, str(record["reason"]))
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
        self.set_aside(case, reason)

    def _note(self, title: str, count: int, reasons: Counter[str | None]) -> None:
        """A line on what an earlier run left, unless it left nothing."""
        line = kept_line(count, reasons)
        if line:
            self.note(f"{title}: {line}")

    def note(self, line: str) -> None:
        """Say and remember what became of an earlier run's results."""
        self.notes.append(line)
        tqdm.write(line, file=sys.stdout)


def kept_line(count: int, reasons: Counter[str | None]) -> str:
    """What is kept of an earlier run and what is not, for people; empty if it left nothing.

    Parameters
    ----------
    count : int
        Cases.
    reasons : Counter
        Of what `Store.mismatch` says of them.
    """
    again = {why: n for why, n in reasons.most_common() if why}
    if not reasons[None] and not again:
        return ""
    parts = [f"{reasons[None]} of {count} kept"]
    parts += [f"{n} made again ({why})" for why, n in again.items()]
    parts += [f"{reasons['']} to be made"] if reasons[""] else []
    return "; ".join(parts)
