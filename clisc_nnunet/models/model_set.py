"""The three models of the method, as a run uses them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from clisc_nnunet.models.backbones import Backbone, load_backbone
from clisc_nnunet.models.clip import ClipModel, load_clip
from clisc_nnunet.models.sam import SamModel, load_sam


@dataclass(frozen=True)
class Models:
    """CLIP labels slices, the backbone becomes their classifier, SAM draws."""

    clip: ClipModel
    sam: SamModel
    backbone: Backbone


@dataclass(frozen=True)
class ModelNames:
    """The three models by name or by the path of a file, as another process can load them."""

    clip: str = "bundled"
    sam: str = "bundled"
    backbone: str = "bundled"

    def load(self, device: str) -> Models:
        """The models, loaded once in each process.

        Raises
        ------
        WeightsError
        """
        return _load(self, device)


@lru_cache(1)
def _load(names: ModelNames, device: str) -> Models:
    where = torch.device(device)
    return Models(
        load_clip(names.clip, where), load_sam(names.sam, where), load_backbone(names.backbone)
    )
