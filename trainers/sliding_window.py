"""Sliding-window prediction of preprocessed cases with the network in training."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.inference.sliding_window_prediction import compute_gaussian
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


@contextmanager
def predicting_logits(
    trainer: nnUNetTrainer, mirroring: bool
) -> Iterator[Callable[[np.ndarray], torch.Tensor]]:
    """Context manager that switches a trainer's network to prediction.

    Parameters
    ----------
    trainer : nnUNetTrainer
    mirroring : bool
        Test-time augmentation by mirroring.

    Yields
    ------
    callable
        Maps data, float32 (channel, x, y, z), to logits (class, x, y, z) on the CPU.
    """
    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    # The predictor prints a message if it does not run on a GPU.
    with redirect_stdout(io.StringIO()):
        predictor = nnUNetPredictor(
            use_mirroring=mirroring, device=trainer.device, allow_tqdm=False
        )
    predictor.manual_initialization(
        trainer.network.module if trainer.is_ddp else trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        None,
        trainer.dataset_json,
        type(trainer).__name__,
        trainer.inference_allowed_mirroring_axes,
    )

    def predict(data: np.ndarray) -> torch.Tensor:
        image = torch.from_numpy(np.ascontiguousarray(data))
        return predictor.predict_sliding_window_return_logits(image).cpu()

    try:
        yield predict
    finally:
        trainer.set_deep_supervision_enabled(trainer.enable_deep_supervision)
        trainer.network.train()
        compute_gaussian.cache_clear()
