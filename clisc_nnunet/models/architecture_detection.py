"""Detect the architecture of weights from names and shapes of a few characteristic tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch

# The published SAMs differ in the width of the first layer.
_SAM = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
# The published CLIPs differ in width and patch size of the image tower.
_CLIP = {(768, 32): "ViT-B-32", (768, 16): "ViT-B-16", (1024, 14): "ViT-L-14"}

# Tensor names that identify other models; the first match decides.
_SIGNS = {
    "image_encoder.patch_embed.seq.0.c.weight": "MobileSAM",
    "image_encoder.trunk.patch_embed.proj.weight": "SAM 2",
    "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": "SAM 2",
    "vision_encoder.patch_embed.projection.weight": "SAM in the format of transformers",
    "vision_model.embeddings.patch_embedding.weight": "CLIP in the format of transformers",
    "visual.layer1.0.conv1.weight": "a CLIP with a ResNet",
    "visual.trunk.patch_embed.proj.weight": "a CLIP of open_clip with an image tower of timm, "
    "such as BiomedCLIP (give its folder, with open_clip_config.json)",
    "image_encoder.pos_embed": "a SAM of another size than the published ones",
    "visual.conv1.weight": "a CLIP of another size than OpenAI's",
    "layer4.2.conv3.weight": "ResNet-50 or larger",
    "layer1.0.conv1.weight": "a ResNet",
    "blocks.0.0.conv_dw.weight": "an EfficientNet",
    "_blocks.0._depthwise_conv.weight": "an EfficientNet",
    "decoder.seg_layers.0.weight": "a network of nnU-Net",
}


def detect_sam_architecture(state: Mapping[str, torch.Tensor]) -> str | None:
    """Key in segment_anything's registry of the SAM that weights belong to, or None."""
    first = state.get("image_encoder.patch_embed.proj.weight")
    return _SAM.get(len(first)) if first is not None else None


def detect_clip_architecture(state: Mapping[str, torch.Tensor]) -> str | None:
    """Name in open_clip of the OpenAI CLIP that weights belong to, or None."""
    first = state.get("visual.conv1.weight")
    if first is None or first.ndim != 4:
        return None
    return _CLIP.get((first.shape[0], first.shape[-1]))


def describe_weights(state: Mapping[str, torch.Tensor]) -> str:
    """Short description of what weights appear to belong to, for error messages."""
    if (sam := detect_sam_architecture(state)) is not None:
        return f"SAM ViT-{sam[-1].upper()}"
    if (clip := detect_clip_architecture(state)) is not None:
        return f"CLIP {clip[:5]}/{clip[6:]}"
    for sign, what in _SIGNS.items():
        if sign in state:
            return what
    first = next(iter(state), None)
    return f"an unknown model ({len(state)} tensors, the first is {first})" if state else "nothing"
