"""Stage 5: LayerCAM of the slices that the classifier calls tumour, by the grad-cam package."""

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
    """What the classifier looked at when it called a slice a tumour's.

    Parameters
    ----------
    classifier : SliceClassifier
        Goes to `device` and into evaluation mode; its weights stay.
    slices : uint8 ndarray of shape (n, row, column)
    layer : str
        Block of the backbone, `layer1` (fine) to `layer4` (coarse). The paper: `layer3`.
    device : torch.device
    batch : int

    Returns
    -------
    cam : float32 ndarray of shape (n, row, column)
        0..1, each slice scaled to its own range. All 0 where the classifier says normal.
    probability : float32 ndarray of shape (n,)
        Of class tumour.

    Notes
    -----
    Activations times the positive part of the gradient of the tumour's logit, summed over the
    channels, negative sums set to 0, min-max scaled and enlarged to the slice. Whether a slice
    has a CAM is the classifier's decision alone; the published code asked the true label.

    References
    ----------
    .. [1] Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for
       Localization", IEEE Transactions on Image Processing, 2021.
    """
    classifier = classifier.to(device).eval()
    probability = classifier.tumour_probability(slices, batch)
    cam = np.zeros(slices.shape, np.float32)
    shown = np.flatnonzero(probability > 0.5)
    if not len(shown):
        return cam, probability
    block = classifier.backbone.get_submodule(layer)
    # Not as a context manager: its exit swallows every IndexError.
    library = LayerCAM(classifier, [block])
    try:
        for start in range(0, len(shown), batch):
            rows = shown[start : start + batch]
            images = to_images(slices[rows], device)
            # The library scales once more after enlarging, so that the peak is 1 again.
            cam[rows] = library(images, [ClassifierOutputTarget(TUMOUR)] * len(rows))
    finally:
        library.activations_and_grads.release()
    # The library leaves its gradients in the weights.
    classifier.zero_grad(set_to_none=True)
    return cam, probability
