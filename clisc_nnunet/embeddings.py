"""SAM's embeddings of slices, remembered: the choice of a threshold and SAM ask for some twice."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch

from clisc_nnunet.embedding_shelf import shelf_of_environment
from clisc_nnunet.models.sam_models import SamModel
from clisc_nnunet.sam import embed
from clisc_nnunet.settings import SamSettings


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
        self._shelf = shelf_of_environment() if model.sha256 else None
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
