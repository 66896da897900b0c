"""Quality of single masks in memory, estimated without labels by the bundled SAM."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from clisc_nnunet.io.volume import Volume
from clisc_nnunet.models.registry import BUNDLED_NAME
from clisc_nnunet.models.sam import SamModel, load_sam
from clisc_nnunet.quality_control.prediction_scores import (
    OpenedPrediction,
    score_prediction,
    trust_score,
)
from clisc_nnunet.quality_control.prompt_stability import JitterSettings
from clisc_nnunet.s3f.similarity import SamPasses, make_volume_segmenter
from clisc_nnunet.settings import Settings
from clisc_nnunet.stages.slice_extraction import make_slices


@dataclass(frozen=True)
class MaskRater:
    """Rates masks by their agreement with SAM, as `clisc_estimate_quality` does.

    Parameters
    ----------
    sam : SamModel
    passes : {'axial', 'all'}
        `all` takes several times as long.
    """

    sam: SamModel
    passes: SamPasses = "axial"

    @classmethod
    def bundled(cls, device: torch.device, passes: SamPasses = "axial") -> MaskRater:
        """Rater with the bundled SAM."""
        return cls(load_sam(BUNDLED_NAME, device), passes)

    def rate(self, case: str, scan: Volume, brain: np.ndarray, mask: np.ndarray) -> float | None:
        """Score of a mask.

        Parameters
        ----------
        case : str
            Seeds the jitter of the prompts.
        scan : Volume
        brain, mask : bool ndarray of scan.array's shape

        Returns
        -------
        float or None
            0 to 1, see `trust_score`; None for a mask that shows on no slice.
        """
        settings = Settings()
        stack = make_slices(scan, settings.slices, brain)
        opened = OpenedPrediction.of_mask(case, stack, mask, scan.geometry)
        if not opened.mask.any():
            return None
        # A new one per mask: its cache of embeddings knows scans by the name of the case alone.
        segmenter = make_volume_segmenter(self.sam, settings, self.passes)
        return trust_score(score_prediction(segmenter, opened, JitterSettings())[0])
