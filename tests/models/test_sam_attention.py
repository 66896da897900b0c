"""Fused attention equals segment_anything's."""

import copy

import pytest
import torch
from segment_anything.modeling.image_encoder import Attention

from clisc_nnunet.models.sam_attention import (
    FusedAttention,
    attend_extended,
    attend_with_bias,
    fuse_attention,
)


@pytest.fixture
def attention():
    torch.manual_seed(0)
    module = Attention(24, num_heads=3, use_rel_pos=True, input_size=(5, 4)).eval()
    for positions in (module.rel_pos_h, module.rel_pos_w):
        torch.nn.init.normal_(positions)  # zero in a fresh module
    return module.requires_grad_(False)


def test_fused_attention_equals_the_librarys(attention):
    tokens = torch.randn(2, 5, 4, 24)
    expected = attention(tokens)
    fused = copy.deepcopy(attention)
    fused.__class__ = FusedAttention
    torch.testing.assert_close(fused(tokens), expected)


def test_without_relative_positions():
    module = Attention(24, num_heads=3).eval().requires_grad_(False)
    tokens = torch.randn(2, 5, 4, 24)
    expected = module(tokens)
    module.__class__ = FusedAttention
    torch.testing.assert_close(module(tokens), expected)


def test_both_variants_are_equal():
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 2, 3, 20, 6, generator=generator)
    to_rows = torch.randn(2, 3, 20, 5, generator=generator)
    to_columns = torch.randn(2, 3, 20, 4, generator=generator)
    arguments = (query, key, value, to_rows, to_columns, 0.4)
    torch.testing.assert_close(attend_extended(*arguments), attend_with_bias(*arguments))


def test_all_blocks_of_an_encoder_are_fused(random_sam):
    encoder = copy.deepcopy(random_sam.image_encoder)
    images = torch.randn(2, 3, 128, 128)
    before, weights = encoder(images), encoder.state_dict()
    fuse_attention(encoder)
    assert sum(isinstance(module, FusedAttention) for module in encoder.modules()) == 4
    torch.testing.assert_close(encoder(images), before, atol=1e-4, rtol=1e-4)
    assert encoder.state_dict().keys() == weights.keys()
