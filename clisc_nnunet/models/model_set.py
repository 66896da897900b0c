"""The three models of the method: CLIP, SAM and the classifier's backbone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from clisc_nnunet.models.backbones import Backbone, load_backbone
from clisc_nnunet.models.clip import ClipModel, load_clip
from clisc_nnunet.models.sam import SamModel, load_sam


@dataclass(frozen=True)
class Models:
    """CLIP labels slices, the backbone is fine-tuned to classify them, SAM segments them."""

    clip: ClipModel
    sam: SamModel
    backbone: Backbone


@dataclass(frozen=True)
class ModelNames:
    """Names or paths of the three models: picklable, so that a worker process can load them."""

    clip: str = "bundled"
    sam: str = "bundled"
    backbone: str = "bundled"

    def load(self, device: str) -> Models:
        """The models, loaded once per process.

        Raises
        ------
        WeightsError
            If weights are missing, corrupt or of another architecture.
        """
        return _load(self, device)


@lru_cache(1)
def _load(names: ModelNames, device: str) -> Models:
    where = torch.device(device)
    return Models(
        load_clip(names.clip, where), load_sam(names.sam, where), load_backbone(names.backbone)
    )
