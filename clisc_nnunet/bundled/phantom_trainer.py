"""nnU-Net's trainer for the bundled network: more contrast, and bfloat16 on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from clisc_nnunet.trainers.network_start import as_float32

# Phantoms that the log's scores are computed on; not trained on.
VALIDATION_CASES = 24


class nnUNetTrainerPhantoms(nnUNetTrainer):
    """nnU-Net's trainer, seeded, with a checkpoint after every epoch."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int | str,
        dataset_json: dict,
        device: torch.device = torch.device("cpu"),  # noqa: B008 - nnU-Net's signature
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.save_every = 1
        np.random.seed(0)  # noqa: NPY002 - nnU-Net's augmentation uses the global state
        torch.manual_seed(0)

    def do_split(self) -> tuple[list[str], list[str]]:
        """All cases but a few, which the log's scores are computed on."""
        cases = self.dataset_class.get_identifiers(self.preprocessed_dataset_folder)
        kept = [case for case in cases if case.endswith("0")][:VALIDATION_CASES]
        return [case for case in cases if case not in kept], kept

    @staticmethod
    def get_training_transforms(*args: Any, **kwargs: Any) -> Any:
        """nnU-Net's augmentation, and more variation of contrast and noise after the first step.

        Phantoms vary less in contrast than scanners do.
        """
        composed = nnUNetTrainer.get_training_transforms(*args, **kwargs)
        shared = {"synchronize_channels": False, "p_per_channel": 1}
        gamma = GammaTransform(
            gamma=BGContrast((0.5, 2.0)), p_invert_image=0, p_retain_stats=1, **shared
        )
        contrast = ContrastTransform(
            contrast_range=BGContrast((0.6, 1.6)), preserve_range=False, **shared
        )
        noise = GaussianNoiseTransform(
            noise_variance=(0, 0.03), p_per_channel=1, synchronize_channels=True
        )
        composed.transforms[1:1] = [
            RandomTransform(gamma, apply_probability=0.3),
            RandomTransform(contrast, apply_probability=0.3),
            RandomTransform(noise, apply_probability=0.2),
        ]
        return composed

    def initialize(self) -> None:
        """As nnU-Net's; the network's outputs are float32, in which the loss is computed."""
        super().initialize()
        self.network.register_forward_hook(as_float32)

    def train_step(self, batch: dict) -> dict:
        """As nnU-Net's, in bfloat16."""
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return super().train_step(batch)

    def validation_step(self, batch: dict) -> dict:
        """As nnU-Net's, in bfloat16."""
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return super().validation_step(batch)

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Nothing: the network is measured on phantoms of other heads."""
