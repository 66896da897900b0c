"""Variants of nnUNetTrainerCLISC: the paper's schedule, no filtering, short schedules.

Names follow nnU-Net's convention. Rounds are fractions of the schedule, so they also take place in
short schedules.
"""

from __future__ import annotations

from clisc_nnunet.trainers.nnUNetTrainerCLISC import nnUNetTrainerCLISC
from clisc_nnunet.trainers.round_settings import NO_FILTER, PAPER


class nnUNetTrainerCLISC_paper(nnUNetTrainerCLISC):
    """Train, one round, train again from random weights (paper)."""

    clisc_settings = PAPER


class nnUNetTrainerCLISC_noFilter(nnUNetTrainerCLISC):
    """No rounds: plain nnU-Net on the pseudo-labels, for comparison."""

    clisc_settings = NO_FILTER


class nnUNetTrainerCLISC_2epochs(nnUNetTrainerCLISC):
    """One epoch, a round, one epoch: a quick check of the installation."""

    epochs = 2


class nnUNetTrainerCLISC_5epochs(nnUNetTrainerCLISC):
    """Five epochs, as nnU-Net's own nnUNetTrainer_5epochs."""

    epochs = 5


class nnUNetTrainerCLISC_10epochs(nnUNetTrainerCLISC):
    """Ten epochs."""

    epochs = 10


class nnUNetTrainerCLISC_20epochs(nnUNetTrainerCLISC):
    """Twenty epochs."""

    epochs = 20


class nnUNetTrainerCLISC_50epochs(nnUNetTrainerCLISC):
    """Fifty epochs."""

    epochs = 50


class nnUNetTrainerCLISC_100epochs(nnUNetTrainerCLISC):
    """A hundred epochs."""

    epochs = 100


class nnUNetTrainerCLISC_250epochs(nnUNetTrainerCLISC):
    """Two hundred and fifty epochs."""

    epochs = 250
