"""Stored slices of a dataset (stage 1), from which SAM made the labels.

S3F shows SAM the same slices again. Extracting them again could give other slices: brain masks
given by the user may be gone, and brain extraction would run again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from clisc_nnunet.io.volume import Geometry, same_grid
from clisc_nnunet.pipeline.result_cache import ResultCache
from clisc_nnunet.pipeline.serialization import unpack_geometry, unpack_stack
from clisc_nnunet.settings import SliceSettings
from clisc_nnunet.stages.slice_extraction import SliceStack


@dataclass(frozen=True)
class DatasetSlices:
    """Stored slices of a raw dataset; there may be none, e.g. if it was moved.

    Parameters
    ----------
    folder : Path
        `Dataset501_CLISC/clisc`.
    settings : SliceSettings
        Slices extracted with other settings are ignored.
    """

    folder: Path
    settings: SliceSettings

    def find(self, case: str, scan: Geometry) -> SliceStack | None:
        """Slices of a case, or None if there are none for a scan with this geometry."""
        kept = ResultCache(self.folder / "stages").load_any(case, "slices")
        if kept is None:
            return None
        arrays, fingerprint = kept
        wanted = json.loads(json.dumps(asdict(self.settings)))
        # Earlier versions did not store the geometry of the scan.
        if fingerprint.get("settings") != wanted or "scan" not in arrays:
            return None
        return unpack_stack(arrays) if same_grid(unpack_geometry(arrays["scan"]), scan) else None
