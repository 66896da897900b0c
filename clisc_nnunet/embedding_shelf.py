"""SAM's embeddings on disk, for those who share them between runs and rounds: off unless asked for.

With `CLISC_EMBEDDINGS=FOLDER`, the converter and the trainer's rounds keep there what SAM's image
encoder made of the axial slices, and take it up again. It pays for large encoders alone: a slice of
a ViT-B takes 4 MB and, on a CPU, saves 20 s; one of the bundled SAM saves a hundredth of a second.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from clisc_nnunet.atomic import whole_file
from clisc_nnunet.errors import UserError
from clisc_nnunet.models.sam_models import SamModel
from clisc_nnunet.settings import SamSettings

FOLDER, LIMIT_GB = "CLISC_EMBEDDINGS", "CLISC_EMBEDDINGS_GB"
DEFAULT_GB = 20.0
# Part of each name: a change of how embeddings are made has to change it.
VERSION = 1
# Other processes write, too: the folder is measured anew after so many files.
MEASURE_EVERY = 64


@dataclass
class EmbeddingShelf:
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
        with whole_file(path) as temporary:
            np.save(temporary, array)
        self._size += path.stat().st_size
        self._since += 1


def shelf_of_environment() -> EmbeddingShelf | None:
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
    return EmbeddingShelf(Path(folder), gigabytes * 1e9)
