"""SAM's embeddings of slices, remembered: the choice of a threshold and SAM ask for some twice."""

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


class EmbeddingCache:
    """Embeddings by case and plane, up to a limit of memory; the longest unused go first.

    Parameters
    ----------
    model : SamModel
    settings : SamSettings
    limit : int
        Bytes on the model's device. The bundled SAM needs 64 kB a slice, a ViT-B 4 MB.
    """

    def __init__(self, model: SamModel, settings: SamSettings, limit: int = 512 << 20) -> None:
        self._model, self._settings, self._limit = model, settings, limit
        self._kept: OrderedDict[tuple[str, int], torch.Tensor] = OrderedDict()
        # Models without a hash, made up by tests and benchmarks, share nothing.
        self._shelf = embedding_store_from_environment() if model.sha256 else None
        self.encoded = 0
        """Slices that went through the encoder so far."""

    def get(self, case: str, planes: np.ndarray, pixels: np.ndarray) -> torch.Tensor:
        """Embeddings of some planes of a case, (n, channel, h, w); the missing ones are made.

        Parameters
        ----------
        case : str
        planes : int ndarray of shape (n,)
        pixels : uint8 ndarray of shape (n, side, side)
            The slices of these planes.
        """
        keys = [(case, int(plane)) for plane in planes]
        missing = [i for i, key in enumerate(keys) if key not in self._kept]
        made = {}
        if missing:
            new = self._made(pixels[missing])
            made = {keys[i]: new[j].clone() for j, i in enumerate(missing)}
        found = torch.stack([made[k] if k in made else self._kept[k] for k in keys])
        for key in keys:
            self._kept[key] = made[key] if key in made else self._kept[key]
            self._kept.move_to_end(key)
        room = max(self._limit // (found[0].numel() * found[0].element_size()), 1)
        while len(self._kept) > room:
            self._kept.popitem(last=False)
        return found

    def _made(self, pixels: np.ndarray) -> torch.Tensor:
        """Embeddings of slices that are not remembered: from the shelf, or from the encoder."""
        if self._shelf is None:
            return self._encode(pixels)
        names = [self._shelf.name(self._model, self._settings, plane) for plane in pixels]
        there = [self._shelf.take(name) for name in names]
        absent = [i for i, embedding in enumerate(there) if embedding is None]
        if absent:
            for i, embedding in zip(absent, self._encode(pixels[absent]), strict=True):
                self._shelf.put(names[i], embedding)
                there[i] = embedding
        device = self._model.sam.device
        return torch.stack([embedding.to(device) for embedding in there if embedding is not None])

    def _encode(self, pixels: np.ndarray) -> torch.Tensor:
        # They stay on the device: over the bus and back takes longer than decoding.
        self.encoded += len(pixels)
        return embed(self._model.sam, pixels, self._settings)


FOLDER, LIMIT_GB = "CLISC_EMBEDDINGS", "CLISC_EMBEDDINGS_GB"
DEFAULT_GB = 20.0
# Part of each name: a change of how embeddings are made has to change it.
VERSION = 1
# Other processes write, too: the folder is measured anew after so many files.
MEASURE_EVERY = 64


@dataclass
class EmbeddingStore:
    """Embeddings in a folder, each in a file named by a hash of all that it was made from.

    Parameters
    ----------
    folder : Path
    limit : float
        Bytes; once they are reached, nothing is added, and what is there stays in use.
    """

    folder: Path
    limit: float
    _size: float = field(default=np.inf, init=False)
    _since: int = field(default=MEASURE_EVERY, init=False)

    def name(self, model: SamModel, settings: SamSettings, pixels: np.ndarray) -> str:
        """Name of the embedding of a slice, uint8 (side, side)."""
        made_from = [VERSION, model.identity, settings.equalise, settings.precision, pixels.shape]
        device = model.sam.device.type
        start = json.dumps([*made_from, device]).encode()
        return sha256(start + pixels.tobytes()).hexdigest()

    def take(self, name: str) -> torch.Tensor | None:
        """An embedding, float32 (channel, h, w), or None where there is none, or a broken one."""
        try:
            return torch.from_numpy(np.load(self.folder / f"{name}.npy"))
        except (OSError, ValueError, EOFError):
            return None

    def put(self, name: str, embedding: torch.Tensor) -> None:
        """Keep an embedding, if there is room.

        Raises
        ------
        StorageError
            If the folder cannot be written to.
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
    """The shelf that the environment asks for.

    Raises
    ------
    UserError
        If its size is no number.
    """
    folder, size = os.environ.get(FOLDER), os.environ.get(LIMIT_GB, str(DEFAULT_GB))
    if not folder:
        return None
    try:
        gigabytes = float(size)
    except ValueError:
        raise UserError(LIMIT_GB, repr(size), "a number of gigabytes", "mend or unset it") from None
    return EmbeddingStore(Path(folder), gigabytes * 1e9)
