"""The three models of the method, as a run uses them."""

from __future__ import annotations

from dataclasses import dataclass

from clisc_nnunet.models.backbones import Backbone
from clisc_nnunet.models.clip_models import ClipModel
from clisc_nnunet.models.sam_models import SamModel


@dataclass(frozen=True)
class Models:
    """CLIP labels slices, the backbone becomes their classifier, SAM draws."""

    clip: ClipModel
    sam: SamModel
    backbone: Backbone
