"""Results of the stages on disk, written atomically and reused if their fingerprint matches."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clisc_nnunet.io.atomic_write import atomic_file, write_text
from clisc_nnunet.provenance import MAX_SHOWN, Difference, differences, in_short

# Version of the results: increased whenever a change of the code changes the result of a stage for
# the same input and settings.
FORMAT = 3
# Older temporary files belong to killed processes; no file takes an hour to write.
LEFTOVER_SECONDS = 3600


def read_object(path: Path) -> dict[str, Any]:
    """Content of a JSON file; empty if it is missing, damaged or not an object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def sign(*parts: Any) -> str:
    """Hash of settings, hashes and signatures, 32 hex digits."""
    text = json.dumps([FORMAT, *parts], sort_keys=True, default=asdict)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Fingerprint:
    """Everything a result depends on; stored with it, so that changes can be reported.

    Parameters
    ----------
    inputs
        Hash of a scan, or signatures of earlier results.
    settings
        Dataclasses or plain values.
    weights
        Identities of models.
    """

    inputs: Any = None
    settings: Any = None
    weights: Any = None

    @property
    def signature(self) -> str:
        """Equal for equal fingerprints of the same version."""
        return sign(self.text)

    @property
    def text(self) -> str:
        """Readable JSON."""
        return json.dumps({"code": FORMAT, **self.__dict__}, sort_keys=True, default=asdict)

    def changes(self, earlier: str) -> str:
        """Readable differences from an earlier result's fingerprint; empty if there are none."""
        return ", ".join(self._changes(earlier))

    def differs_by_inputs_alone(self, earlier: str) -> bool:
        """Whether an earlier result has the same settings, weights and version."""
        return not [part for part in self._changes(earlier) if part != "other inputs"]

    def _changes(self, earlier: str) -> list[str]:
        try:
            before = json.loads(earlier)
        except json.JSONDecodeError:
            return ["an unreadable record"]
        now, parts = json.loads(self.text), []
        for name in ("code", "weights", "inputs", "settings"):
            found = differences(before.get(name), now[name])
            if found and name == "settings":
                parts.append(f"settings {'; '.join(map(_in_words, found[:MAX_SHOWN]))}")
            elif found:
                parts.append(f"other {name}")
        return parts


def _in_words(found: Difference) -> str:
    name = f"{found.name}: " if found.name else ""
    return f"{name}{in_short(found.now)}, before {in_short(found.before)}"


@dataclass(frozen=True)
class ResultCache:
    """Arrays and records by case and stage, in one folder."""

    root: Path

    def path(self, case: str, stage: str) -> Path:
        """File of a result."""
        return self.root / case / f"{stage}.npz"

    def load(self, case: str, stage: str, signature: str) -> dict[str, np.ndarray] | None:
        """Arrays of a result; None if there is none with this signature."""
        arrays = self._read(case, stage)
        if arrays is None or str(arrays.pop("signature", "")) != signature:
            return None
        arrays.pop("recipe", None)
        return arrays

    def load_any(
        self, case: str, stage: str
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Arrays of a result and its fingerprint, whatever that is; None if there is no result."""
        arrays = self._read(case, stage)
        try:
            fingerprint = json.loads(str((arrays or {}).pop("recipe", "")))
        except json.JSONDecodeError:
            return None  # no result, or one without a fingerprint
        return (
            (arrays, fingerprint) if arrays is not None and isinstance(fingerprint, dict) else None
        )

    def require(self, case: str, stage: str, signature: str) -> dict[str, np.ndarray]:
        """Arrays of an earlier stage, which must exist."""
        kept = self.load(case, stage, signature)
        if kept is None:
            raise RuntimeError(f"{self.path(case, stage)} was removed or changed during the run")
        return kept

    def mismatch(self, case: str, stage: str, fingerprint: Fingerprint) -> str | None:
        """Reason to compute a result: "" if there is none yet, None if the cached one is valid."""
        if not self.path(case, stage).exists():
            return ""
        arrays = self._read(case, stage)
        if arrays is None:
            return "a damaged file"
        if str(arrays.get("signature", "")) == fingerprint.signature:
            return None
        return fingerprint.changes(str(arrays.get("recipe", ""))) or "another signature"

    def save(
        self,
        case: str,
        stage: str,
        fingerprint: Fingerprint | str,
        arrays: Mapping[str, np.ndarray],
    ) -> None:
        """Write a result atomically, with its fingerprint or with a signature alone.

        Raises
        ------
        StorageError
        """
        signed = (
            {"signature": fingerprint.signature, "recipe": fingerprint.text}
            if isinstance(fingerprint, Fingerprint)
            else {"signature": fingerprint}
        )
        content: dict[str, Any] = {**arrays, **{k: np.array(v) for k, v in signed.items()}}
        with atomic_file(self.path(case, stage)) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **content)

    def read_record(self, case: str, name: str) -> dict[str, Any]:
        """Small record of a case; empty if it is missing or unreadable."""
        return read_object(self._record(case, name))

    def write_record(self, case: str, name: str, content: Mapping[str, Any]) -> None:
        """Write a small record of a case as JSON."""
        write_text(self._record(case, name), json.dumps(content, indent=1) + "\n")

    def forget_record(self, case: str, name: str) -> None:
        """Remove a record if it exists."""
        self._record(case, name).unlink(missing_ok=True)

    def cases_with(self, file: str) -> list[str]:
        """Cases with a file of this name, such as `slices.npz` or `failure.json`; sorted."""
        return sorted(path.parent.name for path in self.root.glob(f"*/{file}"))

    def remove_leftovers(self) -> None:
        """Remove old temporary files, left by processes that were killed."""
        before = time.time() - LEFTOVER_SECONDS
        for path in self.root.glob("**/.*.*"):
            try:
                if path.is_file() and path.stat().st_mtime < before:
                    path.unlink(missing_ok=True)
            except OSError:  # removed by another process meanwhile
                continue

    def _record(self, case: str, name: str) -> Path:
        return self.root / case / f"{name}.json"

    def _read(self, case: str, stage: str) -> dict[str, np.ndarray] | None:
        try:
            with np.load(self.path(case, stage), allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            return None  # missing, corrupt or of another version: computed again
        except RuntimeError:
            return None  # zipfile reports a damaged header as an unsupported format
