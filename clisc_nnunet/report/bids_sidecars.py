"""JSON sidecars with the provenance of pseudo-labels, following BIDS derivatives.

They are written to `clisc/sidecars`, since nnU-Net does not allow other files in `labelsTr`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clisc_nnunet.io.atomic_write import write_text
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.io.volume import Source
from clisc_nnunet.pipeline.case_result import CaseOutcome
from clisc_nnunet.settings import Settings


def write_sidecars(
    outcomes: Sequence[CaseOutcome],
    scans: Mapping[str, Source],
    digests: Mapping[Source, str],
    labels_folder: Path,
    record: Mapping[str, Any],
    settings: Settings,
    folder: Path,
) -> None:
    """Write `CASE.json` for every label in a folder.

    Parameters
    ----------
    digests : mapping of Path or Series to str
        Digests of the scans, computed earlier, since a scan may be gone by now.
    labels_folder : Path
        Failed cases and cases without `CASE.nii.gz` get no sidecar. Outdated sidecars of earlier
        runs are removed.
    record : mapping
        Content of `run.json`.
    folder : Path
        Output folder.
    """
    names = {outcome.case for outcome in outcomes}
    for old in folder.glob("*.json"):
        if old.stem not in names:
            old.unlink()
    for outcome in outcomes:
        label, path = labels_folder / f"{outcome.case}.nii.gz", folder / f"{outcome.case}.json"
        if outcome.status == "failed" or not label.is_file():
            path.unlink(missing_ok=True)
            continue
        content = sidecar(
            outcome,
            scans[outcome.case].name,
            digests[scans[outcome.case]],
            file_sha256(label),
            record,
            settings,
        )
        write_text(path, json.dumps(content, indent=1) + "\n")


def sidecar(
    outcome: CaseOutcome,
    scan: str,
    scan_sha256: str,
    label_sha256: str,
    record: Mapping[str, Any],
    settings: Settings,
) -> dict[str, Any]:
    """Provenance of one label.

    Parameters
    ----------
    scan : str
        File name of the scan, without folders, which may identify the patient.
    scan_sha256, label_sha256 : str
        Hashes of both files; that of the label allows detecting later corrections.
    record : mapping
        Content of `run.json`: `clisc_nnunet`, `models` and `versions`.

    Returns
    -------
    dict
        BIDS keys where they exist (`Type`, `Sources`, `GeneratedBy`), and our own keys.
    """
    return {
        "Description": "Tumour label of a FLAIR scan, checked or corrected by a person"
        if outcome.status == "trusted"
        else "Tumour pseudo-label of a FLAIR scan, drawn without annotations (CLISC)",
        "Type": "Lesion",
        "Manual": outcome.status == "trusted",
        "Sources": [scan],
        "SourcesSha256": [scan_sha256],
        "LabelSha256": label_sha256,
        "GeneratedBy": [
            {
                "Name": "clisc_nnunet",
                "Version": record["clisc_nnunet"],
                "Dependencies": dict(record["versions"]),
            }
        ],
        "Models": {role: dict(model) for role, model in record["models"].items()},
        "Confidence": round(outcome.confidence, 4),
        "PredictedIoU": round(outcome.predicted_iou, 4),
        "Agreement": round(outcome.agreement, 4),
        "VolumeMl": round(outcome.label_ml, 4),
        "Status": outcome.status,
        "Reason": outcome.reason,
        "Settings": json.loads(settings.to_json()),
    }
