import numpy as np
import pytest
import torch

from clisc_nnunet.models.sam import SamModel
from clisc_nnunet.settings import SamSettings
from clisc_nnunet.stages.sam import embedding_cache
from clisc_nnunet.stages.sam.batched_predictor import embed
from clisc_nnunet.stages.sam.embedding_cache import EmbeddingCache

SLICE_BYTES = 64 * 16 * 16 * 4


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 255, (6, 128, 128)).astype(np.uint8)


@pytest.fixture
def encoded(monkeypatch):
    """Number of slices in each call of the encoder."""
    counts = []

    def counted(sam, pixels, settings):
        counts.append(len(pixels))
        return embed(sam, pixels, settings)

    monkeypatch.setattr(embedding_cache, "embed", counted)
    return counts


def test_a_slice_is_encoded_once(random_sam, pixels, encoded):
    cache = EmbeddingCache(SamModel(random_sam, "tiny", ""), SamSettings())
    wanted = embed(random_sam, pixels, SamSettings())
    first = cache.get("a", np.array([0, 1, 2]), pixels[:3])
    again = cache.get("a", np.array([2, 3, 0]), pixels[[2, 3, 0]])
    assert torch.allclose(first, wanted[:3], atol=1e-5)
    assert torch.allclose(again, wanted[[2, 3, 0]], atol=1e-5)
    assert sum(encoded) == 4


def test_cases_are_cached_separately(random_sam, pixels):
    cache = EmbeddingCache(SamModel(random_sam, "tiny", ""), SamSettings())
    one = cache.get("a", np.array([0]), pixels[:1])
    other = cache.get("b", np.array([0]), pixels[1:2])
    assert not torch.allclose(one, other)


def test_memory_is_bounded_and_least_recently_used_are_evicted(random_sam, pixels, encoded):
    cache = EmbeddingCache(SamModel(random_sam, "tiny", ""), SamSettings(), limit=3 * SLICE_BYTES)
    cache.get("a", np.array([0, 1, 2]), pixels[:3])
    cache.get("a", np.array([0]), pixels[:1])
    cache.get("a", np.array([3]), pixels[3:4])  # evicts 1
    assert sum(encoded) == 4
    cache.get("a", np.array([0, 2, 3]), pixels[[0, 2, 3]])
    assert sum(encoded) == 4
    cache.get("a", np.array([1]), pixels[1:2])
    assert sum(encoded) == 5


def test_more_slices_than_the_limit_are_returned(random_sam, pixels):
    cache = EmbeddingCache(SamModel(random_sam, "tiny", ""), SamSettings(), limit=1)
    found = cache.get("a", np.arange(6), pixels)
    assert torch.allclose(found, embed(random_sam, pixels, SamSettings()), atol=1e-5)
