"""Slices that a classifier is trained on, read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from clisc_nnunet.slices import SliceStack

# Slice stacks kept in memory, about 4 MB each.
REMEMBERED_STACKS = 64


class TrainingSlices(Sequence[np.ndarray]):
    """Slices by number, of many cases; few cases are in memory at a time.

    Parameters
    ----------
    examples : sequence of (case, plane, label)
        Case by case, so that neighbours come from one file.
    stack : callable
        Slices of a case.
    masked : callable, optional
        Masked slices of a case, uint8 (plane, row, column), to train on instead.
    keep_plain : bool
        The slices as they are follow the masked ones.
    """

    def __init__(
        self,
        examples: Sequence[tuple[str, int, int]],
        stack: Callable[[str], SliceStack],
        masked: Callable[[str], np.ndarray] | None = None,
        *,
        keep_plain: bool = False,
    ) -> None:
        self._examples, self._stack = examples, stack
        self._masked = None if masked is None else lru_cache(REMEMBERED_STACKS)(masked)
        self._rounds = 2 if keep_plain and masked is not None else 1

    def __len__(self) -> int:
        return len(self._examples) * self._rounds

    def __getitem__(self, index: Any) -> Any:
        case, plane, _ = self._examples[index % len(self._examples)]
        if self._masked is None or index >= len(self._examples):
            return self._stack(case).pixels[plane]
        return self._masked(case)[plane]
