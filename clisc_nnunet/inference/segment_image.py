"""Segment one scan from Python: `import clisc_nnunet as clisc; clisc.segment("scan.nii.gz")`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch

from clisc_nnunet.errors import UserError
from clisc_nnunet.inference.mask import Mask
from clisc_nnunet.inference.trained_model import NetworkChoice, is_model
from clisc_nnunet.inference.volume_predictor import (
    VolumePredictor,
    load_predictor,
    segment_scan,
)
from clisc_nnunet.inputs.find_cases import find_cases
from clisc_nnunet.io.image_objects import ImageObject, to_volume
from clisc_nnunet.io.volume import Volume, read_volume
from clisc_nnunet.models.device import chosen_device
from clisc_nnunet.quality_control.mask_quality import MaskRater

Device = Literal["cpu", "cuda", "mps"]


def segment(
    image: ImageObject,
    model: str | Path | VolumePredictor | None = None,
    device: Device | None = None,
    *,
    spacing: Sequence[float] | None = None,
    quality: bool = False,
) -> Mask:
    """Segment the tumour in one FLAIR scan, with or without skull.

    Parameters
    ----------
    image : path, SimpleITK.Image, nibabel image, or ndarray with `spacing`
        A path may be a file in any format that SimpleITK reads, or a folder with one scan, such as
        a DICOM series. An ndarray is (plane, row, column): planes from inferior to superior, rows
        towards posterior, columns towards the patient's left.
    model : str, Path or VolumePredictor, optional
        See `load_network`; by default the bundled network. For many scans, load it once.
    device : {'cpu', 'cuda', 'mps'}, optional
        By default cuda if there is one; ignored for a loaded network.
    spacing : sequence of 3 float, optional
        Of an ndarray: millimetres, in the order of its axes.
    quality : bool
        Estimate `Mask.quality`, which takes one to three seconds more.

    Raises
    ------
    UserError
        If the scan cannot be used or there is no such model.

    Examples
    --------
    >>> import clisc_nnunet as clisc
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> folder = Path(mkdtemp())
    >>> made = clisc.make_phantoms(folder, 1, seed=500, spacing_mm=3, tumour_free=0)
    >>> scan = folder / "images/phantom_0000/phantom_0000_flair.nii.gz"
    >>> mask = clisc.segment(scan)
    >>> mask.array.shape == mask.geometry.shape
    True
    >>> 10 < mask.tumour_ml < 300
    True

    Images of other libraries come back on their own grid:

    >>> import SimpleITK as sitk
    >>> image = sitk.ReadImage(scan)
    >>> found = clisc.segment(image).to_sitk()
    >>> found.GetSize() == image.GetSize()
    True
    """
    name = "image"
    if isinstance(image, (str, Path)) and os.path.isdir(image):
        scan, name = _only_scan(Path(image))
    else:
        scan = to_volume(image, spacing)
    predictor = load_network(model, device)
    found = segment_scan(predictor, scan)
    score = None
    if quality:
        rater = MaskRater.bundled(predictor.device)
        score = rater.rate(name, scan, found.brain, found.mask)
    return Mask(found.mask, found.probability, found.brain, scan.geometry, score)


def load_network(
    model: str | Path | VolumePredictor | None = None, device: Device | None = None
) -> VolumePredictor:
    """Load a network, for several calls of `segment`.

    Parameters
    ----------
    model : str, Path or VolumePredictor, optional
        Folder of a model trained with nnU-Net (`TRAINER__PLANS__CONFIGURATION`), or number, name
        or folder of the dataset that it was trained on; by default the bundled network. A loaded
        network is returned as it is.
    device : {'cpu', 'cuda', 'mps'}, optional
        By default cuda if there is one.

    Raises
    ------
    UserError
        If there is no such model, or more than one.

    Examples
    --------
    >>> import clisc_nnunet as clisc
    >>> clisc.load_network(device="cpu").name
    'bundled network'
    """
    if isinstance(model, VolumePredictor):
        return model
    if model is None:
        return _bundled(str(chosen_device(device)))
    folder = Path(model)
    choice = NetworkChoice(model=folder) if is_model(folder) else NetworkChoice(dataset=str(model))
    return load_predictor(choice, chosen_device(device))


@lru_cache(1)
def _bundled(device: str) -> VolumePredictor:
    return VolumePredictor.bundled(torch.device(device))


def _only_scan(folder: Path) -> tuple[Volume, str]:
    """The FLAIR scan of a folder with one case, and the name of the case."""
    cases = find_cases(folder).cases
    if len(cases) > 1:
        hint = "call clisc.segment for each, or clisc_segment for the folder"
        raise UserError(folder, f"{len(cases)} scans", "one", hint)
    return read_volume(cases[0].image), cases[0].name
