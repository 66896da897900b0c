"""Stage 10: segment slices with SAM, in batches.

`segment_anything.SamPredictor` processes one image at a time. Here a batch of slices is encoded in
one pass and decoded in one pass, with one prompt per slice, by segment_anything's modules.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from segment_anything.modeling import Sam
from skimage.exposure import equalize_hist

from clisc_nnunet.models.device import at_precision
from clisc_nnunet.settings import SamSettings
from clisc_nnunet.stages.sam.prompts_and_masks import Masks, Prompts


@torch.inference_mode()
def embed(sam: Sam, pixels: np.ndarray, settings: SamSettings) -> torch.Tensor:
    """Embeddings, float32 (n, channel, h, w), of slices, uint8 (n, side, side)."""
    images = equalise(pixels) if settings.equalise else pixels
    starts = range(0, len(images), settings.batch)
    with at_precision(settings.precision, sam.device):
        parts = [sam.image_encoder(to_input(sam, images[i : i + settings.batch])) for i in starts]
    return torch.cat(parts).float()


@torch.inference_mode()
def segment(
    sam: Sam, embeddings: torch.Tensor, prompts: Prompts, side: int, settings: SamSettings
) -> Masks:
    """Segment each slice, given one prompt per slice.

    Parameters
    ----------
    sam : Sam
    embeddings : Tensor of shape (n, channel, h, w)
        From `embed`.
    prompts : Prompts
        n prompts, in pixels of the slices.
    side : int
        Side of the square slices in pixels.
    settings : SamSettings

    Returns
    -------
    Masks
    """
    if len(embeddings) != len(prompts):
        raise ValueError(f"{len(embeddings)} slices, {len(prompts)} prompts")
    if not len(prompts):
        return Masks(np.zeros((0, side, side), np.float32), np.zeros(0, np.float32))
    scale = sam.image_encoder.img_size / side
    logits, ious = [], []
    for start in range(0, len(prompts), settings.batch):
        rows = slice(start, start + settings.batch)
        part = prompts[rows]
        low, iou = decode(
            sam,
            embeddings[rows].to(sam.device),
            torch.from_numpy(part.points * scale).to(sam.device),
            torch.from_numpy(part.labels).to(sam.device),
            torch.from_numpy(part.boxes * scale).to(sam.device) if part.use_boxes else None,
        )
        full = F.interpolate(low, (side, side), mode="bilinear", align_corners=False)
        logits.append(full[:, 0].float().cpu().numpy())
        ious.append(iou.float().cpu().numpy())
    return Masks(np.concatenate(logits), np.concatenate(ious))


def decode(
    sam: Sam,
    embeddings: torch.Tensor,
    points: torch.Tensor,
    labels: torch.Tensor,
    boxes: torch.Tensor | None,
    masks: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Decode one prompt per embedding.

    Parameters
    ----------
    sam : Sam
    embeddings : Tensor of shape (n, channel, h, w)
        From `sam.image_encoder`.
    points : Tensor of shape (n, k, 2), labels : Tensor of shape (n, k)
        (x, y) in pixels of SAM's input; labels 1, 0 or -1.
    boxes : Tensor of shape (n, 4) or None
        XYXY in pixels of SAM's input.
    masks : Tensor of shape (n, 1, 4h, 4w), optional
        Logits of an earlier mask.

    Returns
    -------
    logits : Tensor of shape (n, 1, 4h, 4w)
    predicted_iou : Tensor of shape (n,)

    Notes
    -----
    `MaskDecoder.predict_masks` repeats the embedding of one image for all prompts. This function
    performs the same steps with one prompt per embedding; a test compares both.
    """
    sparse, dense = sam.prompt_encoder(points=(points, labels), boxes=boxes, masks=masks)
    decoder = sam.mask_decoder
    n = len(embeddings)
    output_tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([output_tokens.expand(n, -1, -1), sparse], dim=1)
    position = sam.prompt_encoder.get_dense_pe().expand(n, -1, -1, -1)
    tokens, features = decoder.transformer(embeddings + dense, position, tokens)
    features = features.transpose(1, 2).reshape(embeddings.shape)
    upscaled = decoder.output_upscaling(features)
    # As multimask_output=False: only the first mask token is used.
    weights = decoder.output_hypernetworks_mlps[0](tokens[:, 1])
    logits = torch.einsum("nc,nchw->nhw", weights, upscaled)[:, None]
    return logits, decoder.iou_prediction_head(tokens[:, 0])[:, 0]


def to_input(sam: Sam, pixels: np.ndarray) -> torch.Tensor:
    """Resize and normalise slices for SAM.

    Parameters
    ----------
    sam : Sam
    pixels : uint8 ndarray of shape (n, side, side)
        Square slices.

    Returns
    -------
    float32 Tensor of shape (n, 3, size, size)
        On SAM's device.
    """
    size = sam.image_encoder.img_size
    images = torch.from_numpy(np.ascontiguousarray(pixels)).to(sam.device)[:, None].float()
    if images.shape[-1] != size:
        images = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
    return (images - sam.pixel_mean) / sam.pixel_std


def equalise(pixels: np.ndarray) -> np.ndarray:
    """Histogram equalisation of each slice (paper, stage 10); uint8 (n, row, column) in and out."""
    return np.stack([np.rint(equalize_hist(plane) * 255).astype(np.uint8) for plane in pixels])
