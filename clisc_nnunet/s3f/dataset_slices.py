"""The slices that stage 1 has cut for a dataset: what SAM saw when it drew the labels.

Whoever judges a prediction of such a scan shows SAM the same ones. Cut anew, they would be others:
brain masks that were given are not at hand any more, and a brain looks for its outline anew.
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
    """Slices beside a raw dataset; there may be none, where it was moved or is not ours.

    Parameters
    ----------
    folder : Path
        `Dataset501_CLISC/clisc`.
    settings : SliceSettings
        Slices that were cut with others are not taken.
    """

    folder: Path
    settings: SliceSettings

    def find(self, case: str, scan: Geometry) -> SliceStack | None:
        """Slices of a case, or None where none are kept of a scan on these voxels."""
        kept = ResultCache(self.folder / "stages").as_kept(case, "slices")
        if kept is None:
            return None
        arrays, fingerprint = kept
        wanted = json.loads(json.dumps(asdict(self.settings)))
        # Those of earlier versions do not say where their scan lay.
        if fingerprint.get("settings") != wanted or "scan" not in arrays:
            return None
        return unpack_stack(arrays) if same_grid(unpack_geometry(arrays["scan"]), scan) else None
