"""A trained nnU-Net network applied to one volume in memory; nnU-Net itself does the work."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from clisc_nnunet.errors import UserError
from clisc_nnunet.inference.trained_model import (
    FINAL,
    NetworkChoice,
    check_model,
    chosen_folds,
)
from clisc_nnunet.io.volume import Volume, resample, to_axial
from clisc_nnunet.models.device import at_precision, cpu_is_fast_at_bf16
from clisc_nnunet.models.phantom_network import CONFIGURATION, load_phantom_network
from clisc_nnunet.models.weights import load_into
from clisc_nnunet.settings import SliceSettings
from clisc_nnunet.stages.brain_extraction import extract_brain
from clisc_nnunet.stages.slice_extraction import background_value

TUMOUR_LABEL = 1
MIRROR_AXES = (0, 1, 2)
BUNDLED = "bundled network"


class VolumePredictor:
    """nnU-Net's sliding-window prediction of single volumes.

    Parameters
    ----------
    predictor : nnUNetPredictor
        Initialised with a network of one input channel.
    name : str
        For reports.
    brain_alone : bool
        The network expects an axial volume of the brain alone, as the bundled one does; otherwise
        scans in the orientation and with the skull of their files, as nnU-Net itself predicts.
    precision : {'fp32', 'bf16'}
        Of the convolutions.
    """

    def __init__(
        self,
        predictor: nnUNetPredictor,
        name: str = BUNDLED,
        *,
        brain_alone: bool = True,
        precision: str = "fp32",
    ) -> None:
        self._predictor = predictor
        self.name = name
        self.brain_alone = brain_alone
        self.precision = precision

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self._predictor.device

    @classmethod
    def bundled(cls, device: torch.device) -> VolumePredictor:
        """The phantom network of this package.

        In bfloat16 on CPUs that are fast at it: in half the time, with masks whose Dice with those
        of float32 is 0.999.

        Raises
        ------
        WeightsError
            If its files are missing or corrupt.
        """
        bundled = load_phantom_network()
        architecture = bundled.configuration["architecture"]
        network = get_network_from_plans(
            architecture["network_class_name"],
            architecture["arch_kwargs"],
            architecture["_kw_requires_import"],
            1,
            2,
            deep_supervision=False,
        )
        load_into(network, bundled.state)
        fast = device.type == "cpu" and cpu_is_fast_at_bf16()
        return cls.of_network(
            network, bundled.plans, bundled.dataset_json, device, "bf16" if fast else "fp32"
        )

    @classmethod
    def of_network(
        cls,
        network: torch.nn.Module,
        plans: Mapping[str, Any],
        dataset_json: Mapping[str, Any],
        device: torch.device | None = None,
        precision: str = "fp32",
    ) -> VolumePredictor:
        """A network in memory, with its plans (of one configuration) and dataset.json."""
        device = device or torch.device("cpu")
        predictor = _new_predictor(device)
        manager = PlansManager(dict(plans))
        predictor.manual_initialization(
            network.to(device).eval(),
            manager,
            manager.get_configuration(CONFIGURATION),
            [network.state_dict()],
            dict(dataset_json),
            "",
            MIRROR_AXES,
        )
        return cls(predictor, precision=precision)

    @classmethod
    def of_folder(
        cls,
        folder: Path,
        device: torch.device,
        folds: Sequence[str] = (),
        checkpoint: str = FINAL,
        *,
        brain_alone: bool = False,
    ) -> VolumePredictor:
        """A trained model of nnU-Net: `nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION`.

        Parameters
        ----------
        folds, checkpoint
            See `chosen_folds`.

        Raises
        ------
        UserError
            If the folder is not one, a fold or checkpoint is missing, or its network has several
            input channels or classes.
        """
        check_model(folder)
        use = chosen_folds(folder, folds, checkpoint)
        predictor = _new_predictor(device)
        try:
            predictor.initialize_from_trained_model_folder(str(folder), use, checkpoint)
        except (RuntimeError, ImportError, pickle.UnpicklingError, EOFError) as error:
            found = f"a model that nnU-Net cannot load ({str(error).splitlines()[0]})"
            hint = "check its checkpoints, and that its trainer is installed"
            raise UserError(folder, found, "a trained model", hint) from None
        name = "/".join(Path(os.path.abspath(folder)).parts[-2:])
        return cls(predictor, name, brain_alone=brain_alone)

    def probability(self, array: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        """Probability of tumour.

        Parameters
        ----------
        array : float ndarray of shape (plane, row, column)
            Exactly 0 outside of what the network is to see.
        spacing : sequence of 3 float
            Millimetres, in order of the axes.

        Returns
        -------
        float32 ndarray of the same shape
        """
        with at_precision(self.precision, self.device):
            _, probabilities = self._predictor.predict_single_npy_array(
                array[None].astype(np.float32),
                {"spacing": [float(mm) for mm in spacing]},
                save_or_return_probabilities=True,
            )
        return np.asarray(probabilities[TUMOUR_LABEL], np.float32)

    def predict(self, array: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        """Tumour mask, bool (plane, row, column); see `probability`."""
        return self.probability(array, spacing) > 0.5


@dataclass(frozen=True)
class Segmentation:
    """Result for a scan; arrays of its shape.

    Parameters
    ----------
    mask : bool ndarray
        Tumour.
    probability : float32 ndarray
        Of tumour, 0 to 1.
    brain : bool ndarray
        As found by brain extraction.
    """

    mask: np.ndarray
    probability: np.ndarray
    brain: np.ndarray


def load_predictor(choice: NetworkChoice, device: torch.device) -> VolumePredictor:
    """Load the bundled or a trained network.

    Raises
    ------
    UserError
        If it does not exist or cannot be loaded.
    """
    folder = choice.folder()
    if folder is None:
        return VolumePredictor.bundled(device)
    return VolumePredictor.of_folder(
        folder, device, choice.folds, choice.checkpoint, brain_alone=choice.strip
    )


def segment_scan(
    predictor: VolumePredictor, scan: Volume, settings: SliceSettings | None = None
) -> Segmentation:
    """Segment a scan in any orientation, with or without skull.

    Parameters
    ----------
    predictor : VolumePredictor
    scan : Volume
    settings : SliceSettings, optional
        Say whether the brain is extracted (default) or all foreground is brain.

    Notes
    -----
    Where the network expects the brain alone, there is no tumour outside of it. Other networks
    give the mask of nnUNetv2_predict.
    """
    brain = extract_brain(scan, settings or SliceSettings())
    if not predictor.brain_alone:
        # As clisc_make_pseudo_dataset writes training images.
        shifted = scan.array - np.float32(background_value(scan.array))
        probability = predictor.probability(shifted, scan.geometry.spacing[::-1])
        return Segmentation(probability > 0.5, probability, brain)
    probability = brain_probability(predictor, scan, brain)
    return Segmentation(probability > 0.5, probability, brain)


def brain_probability(predictor: VolumePredictor, scan: Volume, brain: np.ndarray) -> np.ndarray:
    """Probability of tumour in a scan in any orientation and on any scale of intensities.

    Parameters
    ----------
    predictor : VolumePredictor
    scan : Volume
    brain : bool ndarray of scan.array's shape
        The network is shown nothing else.

    Returns
    -------
    float32 ndarray of scan.array's shape
        0 outside the brain.
    """
    if not brain.any():
        return np.zeros(brain.shape, np.float32)
    # The background must be 0 and nothing else; the network normalises intensities itself.
    values = np.where(brain, scan.array - scan.array[brain].min() + 1.0, 0.0)
    axial = to_axial(Volume(values.astype(np.float32), scan.geometry))
    found = predictor.probability(axial.array, axial.geometry.spacing[::-1])
    return np.where(brain, resample(found, axial.geometry, scan.geometry), np.float32(0))


def _new_predictor(device: torch.device) -> nnUNetPredictor:
    # On a CPU it prints a remark about an option, however that is set.
    with contextlib.redirect_stdout(io.StringIO()):
        return nnUNetPredictor(
            perform_everything_on_device=device.type == "cuda", device=device, allow_tqdm=False
        )
