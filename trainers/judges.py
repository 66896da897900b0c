"""Networks whose predictions a round compares with labels and SAM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from clisc_nnunet.errors import UserError
from clisc_nnunet.inference.volume_predictor import VolumePredictor
from clisc_nnunet.models.phantom_network import is_bundled
from clisc_nnunet.trainers.relabelled_dataset import TUMOUR_LABEL
from clisc_nnunet.trainers.round_cases import LoadedCase
from clisc_nnunet.trainers.sliding_window import predicting_logits

# Maps a case to the probability of tumour, float (x, y, z).
Judge = Callable[[LoadedCase], np.ndarray]


@contextmanager
def judging(trainer: nnUNetTrainer, judge: str, mirroring: bool) -> Iterator[Judge]:
    """Context manager with the judge of a round.

    Parameters
    ----------
    trainer : nnUNetTrainer
    judge : {'phantoms', 'network'}
        See `RoundSettings`.
    mirroring : bool
        Whether the network in training predicts with mirroring; the phantom network always does.
    """
    if judge == "phantoms":
        predictor = VolumePredictor.bundled(trainer.device)
        yield lambda case: case.view.probability(predictor)
        return
    with predicting_logits(trainer, mirroring) as predict:
        to_probabilities = trainer.label_manager.apply_inference_nonlin
        yield lambda case: np.asarray(to_probabilities(predict(case.data))[TUMOUR_LABEL])


def check_judge(judge: str) -> None:
    """Raise if the judge is missing in this installation.

    Raises
    ------
    UserError
    """
    if judge == "phantoms" and not is_bundled():
        raise UserError(
            "CLISC_JUDGE",
            "phantoms, but no phantom network in this installation",
            "the network of this package, or network",
            "install the package again, or set CLISC_JUDGE=network CLISC_ROUNDS=0.25",
        )
