"""Move a case's label into the dataset and store its hash, so that manual edits are detected.

A label with an unknown hash was edited by a person and is never overwritten. Only the hash and the
header of such a label are read.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.pipeline.case_result import CaseOutcome
from clisc_nnunet.pipeline.config import CaseInput, RunConfig
from clisc_nnunet.pipeline.result_cache import Fingerprint, ResultCache

RECORD = "label"


def place_label(
    config: RunConfig, case: CaseInput, stage: str, fingerprint: Fingerprint, outcome: CaseOutcome
) -> CaseOutcome:
    """Record the hash of a written label, then move it into the dataset.

    Returns
    -------
    CaseOutcome
        `trusted` if the dataset contains a label edited by a person, which is left unchanged.
    """
    cache, target = config.cache, config.dataset.label(case.name)
    written = unplaced_label(cache, case.name)
    # If the run is killed at any point, either the hash of the label is recorded or it is missing.
    digest = file_sha256(written)
    record = cache.read_record(case.name, stage)
    earlier = [hash_ for hash_ in record.get("sha256", []) if hash_ != digest]
    content = {
        "signature": fingerprint.signature,
        "recipe": fingerprint.text,
        "sha256": [*earlier, digest],
        "outcome": asdict(outcome),
    }
    cache.write_record(case.name, stage, content)
    target.parent.mkdir(parents=True, exist_ok=True)
    # It may have been edited since the run started.
    if target.is_file() and not written_by_us(cache, case.name, target):
        written.unlink()
        return corrected_outcome(case.name)
    os.replace(written, target)
    return outcome


def label_mismatch(
    config: RunConfig, case: CaseInput, stage: str, fingerprint: Fingerprint
) -> str | None:
    """Reason to write a label again, or None; see `ResultCache.mismatch`."""
    record = config.cache.read_record(case.name, stage)
    if not record:
        return ""
    if record.get("signature") != fingerprint.signature:
        return fingerprint.changes(str(record.get("recipe", ""))) or "another signature"
    label = config.dataset.label(case.name)
    wanted = config.empty_labels or record["outcome"]["status"] != "empty"
    there = label.is_file() and file_sha256(label) == record["sha256"][-1]
    overlays = config.dataset.cam(case.name), config.dataset.roi(case.name)
    if not all(path.is_file() for path in overlays) or (wanted and not there):
        return "a missing file"
    return None


def recorded_outcome(cache: ResultCache, case: str) -> CaseOutcome:
    """Outcome of a case whose label is reused."""
    return CaseOutcome(**cache.read_record(case, RECORD)["outcome"])


def corrected_outcome(case: str) -> CaseOutcome:
    """Outcome of a case whose label was edited by a person in `labelsTr`."""
    return CaseOutcome(case, "trusted", "label corrected by a person")


def written_by_us(cache: ResultCache, case: str, label: Path) -> bool:
    """Whether a label was written by this or an earlier run, and not edited since."""
    return file_sha256(label) in cache.read_record(case, RECORD).get("sha256", [])


def unplaced_label(cache: ResultCache, case: str) -> Path:
    """Label of a case in the cache, before `place_label` moves it into the dataset."""
    return cache.root / case / "drawn_label.nii.gz"
