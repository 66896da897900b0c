"""Detection from characteristic tensors alone; no model is built."""

import pytest
import torch

from clisc_nnunet.models.architecture_detection import (
    describe_weights,
    detect_clip_architecture,
    detect_sam_architecture,
)


def tensors(**shapes):
    return {name: torch.zeros(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("width", "architecture"), [(768, "vit_b"), (1024, "vit_l"), (1280, "vit_h"), (96, None)]
)
def test_sam_is_detected_by_its_width(width, architecture):
    state = tensors(**{"image_encoder.patch_embed.proj.weight": (width, 1, 1, 1)})
    assert detect_sam_architecture(state) == architecture
    if architecture:
        assert describe_weights(state) == f"SAM ViT-{architecture[-1].upper()}"


@pytest.mark.parametrize(
    ("shape", "name"),
    [((768, 3, 32, 32), "CLIP ViT-B/32"), ((768, 3, 16, 16), "CLIP ViT-B/16"),
     ((1024, 3, 14, 14), "CLIP ViT-L/14"), ((64, 3, 7, 7), "a CLIP of another size than OpenAI's")],
)  # fmt: skip
def test_clip_is_detected_by_width_and_patch_size(shape, name):
    state = tensors(**{"visual.conv1.weight": shape})
    assert describe_weights(state) == name
    assert (detect_clip_architecture(state) is None) == ("size" in name)


@pytest.mark.parametrize(
    ("tensor", "name"),
    [
        ("image_encoder.patch_embed.seq.0.c.weight", "MobileSAM"),
        ("image_encoder.trunk.patch_embed.proj.weight", "SAM 2"),
        ("vision_encoder.patch_embed.projection.weight", "format of transformers"),
        ("layer4.2.conv3.weight", "ResNet-50"),
        ("decoder.seg_layers.0.weight", "nnU-Net"),
    ],
)
def test_other_models_are_detected_by_a_tensor_name(tensor, name):
    assert name in describe_weights({tensor: torch.zeros(1)})


def test_unknown_weights_are_described_by_their_first_tensor():
    assert describe_weights({"a.b": torch.zeros(1)}).endswith("the first is a.b)")
    assert describe_weights({}) == "nothing"
