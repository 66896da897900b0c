"""Caches of SAM's slice embeddings: in memory, and optionally on disk for several runs.

The selection of the CAM threshold and the segmentation use the same axial embeddings.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from clisc_nnunet.errors import UserError
from clisc_nnunet.io.atomic_write import atomic_file
from clisc_nnunet.models.sam import SamModel
from clisc_nnunet.settings import SamSettings
from clisc_nnunet.stages.sam.batched_predictor import embed

FOLDER, LIMIT_GB = "CLISC_EMBEDDINGS", "CLISC_EMBEDDINGS_GB"
DEFAULT_GB = 20.0
# Part of each file name: increase it when the computation of embeddings changes.
VERSION = 1
# Other processes write to the folder too, so its size is updated after this many files.
MEASURE_EVERY = 64


class EmbeddingCache:
    """In-memory LRU cache of embeddings by case and plane, backed by an `EmbeddingStore`.

    Parameters
    ----------
    model : SamModel
    settings : SamSettings
    limit : int
        Bytes on the model's device. The bundled SAM needs 64 kB per slice, a ViT-B 4 MB.
    """

    def __init__(self, model: SamModel, settings: SamSettings, limit: int = 512 << 20) -> None:
        self._model, self._settings, self._limit = model, settings, limit
        self._cached: OrderedDict[tuple[str, int], torch.Tensor] = OrderedDict()
        # Models without a hash (in tests and benchmarks) have no identity on disk.
        self._store = embedding_store_from_environment() if model.sha256 else None

    def get(self, case: str, planes: np.ndarray, pixels: np.ndarray) -> torch.Tensor:
        """Embeddings of planes of a case, float32 (n, channel, h, w), encoded where missing.

        Parameters
        ----------
        case : str
        planes : int ndarray of shape (n,)
        pixels : uint8 ndarray of shape (n, side, side)
            Slices of these planes.
        """
        keys = [(case, int(plane)) for plane in planes]
        missing = [i for i, key in enumerate(keys) if key not in self._cached]
        made = {}
        if missing:
            new = self._load_or_encode(pixels[missing])
            made = {keys[i]: new[j].clone() for j, i in enumerate(missing)}
        found = torch.stack([made[k] if k in made else self._cached[k] for k in keys])
        for key in keys:
            self._cached[key] = made[key] if key in made else self._cached[key]
            self._cached.move_to_end(key)
        capacity = max(self._limit // (found[0].numel() * found[0].element_size()), 1)
        while len(self._cached) > capacity:
            self._cached.popitem(last=False)
        return found

    def _load_or_encode(self, pixels: np.ndarray) -> torch.Tensor:
        """Embeddings of slices that are not in memory, from the store or the encoder."""
        if self._store is None:
            return self._encode(pixels)
        names = [self._store.name(self._model, self._settings, plane) for plane in pixels]
        stored = [self._store.load(name) for name in names]
        absent = [i for i, embedding in enumerate(stored) if embedding is None]
        if absent:
            for i, embedding in zip(absent, self._encode(pixels[absent]), strict=True):
                self._store.save(names[i], embedding)
                stored[i] = embedding
        device = self._model.sam.device
        return torch.stack([embedding.to(device) for embedding in stored if embedding is not None])

    def _encode(self, pixels: np.ndarray) -> torch.Tensor:
        # They stay on the device: transferring them takes longer than decoding.
        return embed(self._model.sam, pixels, self._settings)


@dataclass
class EmbeddingStore:
    """Embeddings on disk, in files named by a hash of everything they depend on.

    Parameters
    ----------
    folder : Path
    limit : float
        Bytes. When the limit is reached, nothing is added; existing embeddings remain in use.
    """

    folder: Path
    limit: float
    _size: float = field(default=np.inf, init=False)
    _since: int = field(default=MEASURE_EVERY, init=False)

    def name(self, model: SamModel, settings: SamSettings, pixels: np.ndarray) -> str:
        """File name, without extension, of the embedding of a slice, uint8 (side, side)."""
        made_from = [VERSION, model.identity, settings.equalise, settings.precision, pixels.shape]
        device = model.sam.device.type
        start = json.dumps([*made_from, device]).encode()
        return sha256(start + pixels.tobytes()).hexdigest()

    def load(self, name: str) -> torch.Tensor | None:
        """An embedding, float32 (channel, h, w), or None if it is missing or corrupt."""
        try:
            return torch.from_numpy(np.load(self.folder / f"{name}.npy"))
        except (OSError, ValueError, EOFError):
            return None

    def save(self, name: str, embedding: torch.Tensor) -> None:
        """Save an embedding unless the limit is reached.

        Raises
        ------
        StorageError
            If the folder is not writable.
        """
        array = embedding.float().cpu().numpy()
        if self._since >= MEASURE_EVERY:
            files = self.folder.glob("*.npy") if self.folder.is_dir() else ()
            self._size, self._since = sum(file.stat().st_size for file in files), 0
        if self._size + array.nbytes > self.limit:
            return
        path = self.folder / f"{name}.npy"
        with atomic_file(path) as temporary:
            np.save(temporary, array)
        self._size += path.stat().st_size
        self._since += 1


def embedding_store_from_environment() -> EmbeddingStore | None:
    """Store in the folder CLISC_EMBEDDINGS, limited by CLISC_EMBEDDINGS_GB; None if not set.

    Raises
    ------
    UserError
        If the limit is not a number.
    """
    folder, size = os.environ.get(FOLDER), os.environ.get(LIMIT_GB, str(DEFAULT_GB))
    if not folder:
        return None
    try:
        gigabytes = float(size)
    except ValueError:
        raise UserError(LIMIT_GB, repr(size), "a number of gigabytes", "fix or unset it") from None
    return EmbeddingStore(Path(folder), gigabytes * 1e9)
