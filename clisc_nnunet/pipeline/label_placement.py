"""Move a case's label into the dataset and store its hash, so that manual edits are detected.

A label with an unknown hash was edited by a person and is never overwritten.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from clisc_nnunet.dataset_layout import TRUSTED_FILE
from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.atomic_write import replace_durably
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

    Raises
    ------
    ScanError
        If the dataset contains a label without a record of labels of this case.
    """
    cache, target = config.cache, config.dataset.label(case.name)
    written = unplaced_label(cache, case.name)
    record = cache.read_record(case.name, stage)
    if target.is_file() and not record.get("sha256"):
        written.unlink()
        raise unknown_label(cache, case.name, target)
    # If the run is killed at any point, either the hash of the label is recorded or it is missing.
    digest = file_sha256(written)
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
    replace_durably(written, target)
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


def record_is_lost(cache: ResultCache, case: str) -> bool:
    """Whether a label of this case may be ours although no hash of it is recorded."""
    drawn = cache.path(case, "masks").is_file()
    return drawn and not cache.read_record(case, RECORD).get("sha256")


def unknown_label(cache: ResultCache, case: str, label: Path) -> ScanError:
    """Error for a label that may be ours or a person's."""
    return ScanError(
        label,
        f"a label whose record {cache.root / case / RECORD}.json is missing or empty",
        "a record of the labels of earlier runs",
        f"if a person has checked it, add {case} to {TRUSTED_FILE}; otherwise remove the label to "
        "have it redrawn",
    )


def unplaced_label(cache: ResultCache, case: str) -> Path:
    """Label of a case in the cache, before `place_label` moves it into the dataset."""
    return cache.root / case / "drawn_label.nii.gz"
