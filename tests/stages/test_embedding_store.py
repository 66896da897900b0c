"""Embeddings on disk: shared between runs, bounded, and specific to a slice."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from clisc_nnunet.errors import UserError
from clisc_nnunet.models.sam import SamModel
from clisc_nnunet.settings import SamSettings
from clisc_nnunet.stages.sam import embedding_cache
from clisc_nnunet.stages.sam.batched_predictor import embed
from clisc_nnunet.stages.sam.embedding_cache import (
    FOLDER,
    LIMIT_GB,
    EmbeddingCache,
    EmbeddingStore,
    embedding_store_from_environment,
)

PLANES = np.arange(3)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 255, (3, 128, 128)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path / "embeddings"))
    return tmp_path / "embeddings"


@pytest.fixture
def encoded(monkeypatch):
    """Number of slices in each call of the encoder."""
    counts = []

    def counted(sam, pixels, settings):
        counts.append(len(pixels))
        return embed(sam, pixels, settings)

    monkeypatch.setattr(embedding_cache, "embed", counted)
    return counts


def test_another_run_reuses_embeddings(random_sam, pixels, folder, encoded):
    model = SamModel(random_sam, "tiny", "of this model")
    first, second = EmbeddingCache(model, SamSettings()), EmbeddingCache(model, SamSettings())
    made = first.get("a", PLANES, pixels)
    assert sum(encoded) == len(list(folder.iterdir())) == 3
    assert torch.equal(second.get("under another name", PLANES, pixels), made)
    assert sum(encoded) == 3


def test_another_model_setting_or_slice_is_encoded_again(random_sam, pixels, folder, encoded):
    EmbeddingCache(SamModel(random_sam, "tiny", "one"), SamSettings()).get("a", PLANES, pixels)
    for sha, taken_as, settings, planes in (
        ("other", "", SamSettings(), pixels),
        ("one", "with another mean", SamSettings(), pixels),
        ("one", "", replace(SamSettings(), equalise=True), pixels),
        ("one", "", SamSettings(), pixels[:, ::-1]),
    ):
        encoded.clear()
        cache = EmbeddingCache(SamModel(random_sam, "tiny", sha, taken_as), settings)
        cache.get("a", PLANES, np.ascontiguousarray(planes))
        assert sum(encoded) == 3


def test_a_corrupt_file_is_replaced(random_sam, pixels, folder, encoded):
    model = SamModel(random_sam, "tiny", "one")
    made = EmbeddingCache(model, SamSettings()).get("a", PLANES, pixels)
    for broken, content in zip(sorted(folder.iterdir()), (b"", b"\x93NUMPY", b"junk"), strict=True):
        broken.write_bytes(content)
    encoded.clear()
    cache = EmbeddingCache(model, SamSettings())
    assert torch.allclose(cache.get("a", PLANES, pixels), made, atol=1e-5)
    assert sum(encoded) == 3


def test_the_limit_is_respected(tmp_path):
    embedding = torch.ones(4, 2, 2)
    embedding_store = EmbeddingStore(tmp_path, limit=2.2 * (embedding.numel() * 4 + 128))
    for name in "abc":
        embedding_store.save(name, embedding)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy", "b.npy"]
    assert torch.equal(embedding_store.load("a"), embedding)
    assert embedding_store.load("c") is None


def test_nothing_is_stored_by_default(random_sam, pixels, monkeypatch, tmp_path):
    monkeypatch.delenv(FOLDER, raising=False)
    assert embedding_store_from_environment() is None
    monkeypatch.setenv(FOLDER, str(tmp_path / "embeddings"))
    EmbeddingCache(SamModel(random_sam, "made up", ""), SamSettings()).get("a", PLANES, pixels)
    assert not (tmp_path / "embeddings").exists()


def test_an_invalid_limit_is_reported(folder, monkeypatch):
    monkeypatch.setenv(LIMIT_GB, "much")
    with pytest.raises(UserError, match="CLISC_EMBEDDINGS_GB: found 'much'"):
        embedding_store_from_environment()
