"""Stage 5: LayerCAM of slices classified as tumour, by the package grad-cam."""

from __future__ import annotations

import numpy as np
import torch
from pytorch_grad_cam import LayerCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from clisc_nnunet.models.slice_classifier import SliceClassifier, to_images
from clisc_nnunet.stages.slice_classes import TUMOUR


def layer_cam(
    classifier: SliceClassifier,
    slices: np.ndarray,
    layer: str,
    device: torch.device,
    batch: int = 32,
) -> tuple[np.ndarray, np.ndarray]:
    """LayerCAM of class tumour, for the slices classified as tumour.

    Parameters
    ----------
    classifier : SliceClassifier
        Moved to `device` and set to evaluation mode; weights do not change.
    slices : uint8 ndarray of shape (n, row, column)
    layer : str
        Block of the backbone, `layer1` (fine) to `layer4` (coarse). The paper: `layer3`.
    device : torch.device
    batch : int
        Slices per forward pass.

    Returns
    -------
    cam : float32 ndarray of shape (n, row, column)
        In 0..1, each slice scaled to its own range; 0 in slices classified as normal.
    probability : float32 ndarray of shape (n,)
        Probability of class tumour.

    Notes
    -----
    Activations times the positive part of the gradient of the tumour logit, summed over channels,
    clipped at 0, min-max scaled and upsampled to the slice. Only the classifier decides which
    slices have a CAM; the published code uses the reference label.

    References
    ----------
    .. [1] Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for
       Localization", IEEE Transactions on Image Processing, 2021.
    """
    classifier = classifier.to(device).eval()
    probability = classifier.tumour_probability(slices, batch)
    cam = np.zeros(slices.shape, np.float32)
    selected = np.flatnonzero(probability > 0.5)
    if not len(selected):
        return cam, probability
    block = classifier.backbone.get_submodule(layer)
    # Not used as a context manager, as that would swallow every IndexError.
    library = LayerCAM(classifier, [block])
    try:
        for start in range(0, len(selected), batch):
            rows = selected[start : start + batch]
            images = to_images(slices[rows], device)
            # The library scales again after upsampling, so that the maximum is 1.
            cam[rows] = library(images, [ClassifierOutputTarget(TUMOUR)] * len(rows))
    finally:
        library.activations_and_grads.release()
    # The library leaves gradients in the parameters.
    classifier.zero_grad(set_to_none=True)
    return cam, probability
