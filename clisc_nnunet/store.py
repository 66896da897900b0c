"""Results of stages on disk: signed, whole or not at all, reused where the signature fits."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

# Raised whenever a stage's result changes for the same input and settings.
FORMAT = 1


def sign(*parts: Any) -> str:
    """Signature of what a result depends on: settings, hashes, other signatures."""
    text = json.dumps([FORMAT, *parts], sort_keys=True, default=asdict)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Store:
    """Arrays by case and stage, under one folder."""

    root: Path

    def path(self, case: str, stage: str) -> Path:
        """File of a result."""
        return self.root / case / f"{stage}.npz"

    def load(self, case: str, stage: str, signature: str) -> dict[str, np.ndarray] | None:
        """Arrays of a result, or None if there is none with this signature."""
        path = self.path(case, stage)
        try:
            with np.load(path, allow_pickle=False) as file:
                if str(file["signature"]) != signature:
                    return None
                return {key: file[key] for key in file.files if key != "signature"}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            return None  # absent, broken, or of another version: it is made again
        except RuntimeError:
            return None  # zipfile takes a damaged header for one of an unknown kind

    def require(self, case: str, stage: str, signature: str) -> dict[str, np.ndarray]:
        """Arrays of a result that an earlier stage has made."""
        kept = self.load(case, stage, signature)
        if kept is None:
            raise RuntimeError(f"{self.path(case, stage)} is gone or was changed during the run")
        return kept

    def save(self, case: str, stage: str, signature: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Write a result whole or not at all."""
        path = self.path(case, stage)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{os.getpid()}.{path.name}")
        try:
            with temporary.open("wb") as file:
                content: dict[str, Any] = {**arrays, "signature": np.array(signature)}
                np.savez_compressed(file, **content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def get(
        self, case: str, stage: str, signature: str, make: Callable[[], Mapping[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """Result with this signature: read, or made and kept."""
        kept = self.load(case, stage, signature)
        if kept is None:
            kept = dict(make())
            self.save(case, stage, signature, kept)
        return kept


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
