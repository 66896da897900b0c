"""nnUNetTrainerCLISC's small family: the paper's schedule, no filtering, short schedules.

Names follow nnU-Net's habit. Rounds are shares of the schedule, so short ones have theirs too.
"""

from __future__ import annotations

import torch

from clisc_nnunet.trainers.nnUNetTrainerCLISC import nnUNetTrainerCLISC
from clisc_nnunet.trainers.round_settings import NO_FILTER, PAPER


class nnUNetTrainerCLISC_paper(nnUNetTrainerCLISC):
    """Train, one round, train again from random weights (paper)."""

    clisc_settings = PAPER


class nnUNetTrainerCLISC_noFilter(nnUNetTrainerCLISC):
    """No round at all: what is left is nnU-Net on the pseudo-labels, for comparison."""

    clisc_settings = NO_FILTER


class _Short(nnUNetTrainerCLISC):
    """A schedule of another length."""

    epochs: int

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int | str,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's signature
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = self.epochs


class nnUNetTrainerCLISC_2epochs(_Short):
    """One epoch, a round, one epoch: enough to see that everything works."""

    epochs = 2


class nnUNetTrainerCLISC_5epochs(_Short):
    """Five epochs, as nnU-Net's own nnUNetTrainer_5epochs."""

    epochs = 5


class nnUNetTrainerCLISC_10epochs(_Short):
    """Ten epochs."""

    epochs = 10


class nnUNetTrainerCLISC_20epochs(_Short):
    """Twenty epochs."""

    epochs = 20


class nnUNetTrainerCLISC_50epochs(_Short):
    """Fifty epochs."""

    epochs = 50


class nnUNetTrainerCLISC_100epochs(_Short):
    """A hundred epochs."""

    epochs = 100


class nnUNetTrainerCLISC_250epochs(_Short):
    """Two hundred and fifty epochs."""

    epochs = 250
