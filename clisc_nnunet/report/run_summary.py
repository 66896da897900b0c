"""Summary of a run for the report page: counts, histograms, changed settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from clisc_nnunet.pipeline.case_result import CaseOutcome
from clisc_nnunet.provenance import differences
from clisc_nnunet.settings import PRESETS, Settings

BINS = 20


@dataclass(frozen=True)
class Bar:
    """One bar of a histogram: numbers of cases with values from `low` to `high`."""

    low: float
    high: float
    labelled: int
    empty: int

    @property
    def count(self) -> int:
        """Number of cases."""
        return self.labelled + self.empty


def share_bars(labelled: Sequence[float], empty: Sequence[float] = ()) -> list[Bar]:
    """Histogram of values in 0..1 with `BINS` equal bins; values are clipped to this range."""
    return _bars(labelled, empty, np.linspace(0.0, 1.0, BINS + 1))


def volume_bars(volumes: Sequence[float]) -> list[Bar]:
    """Histogram of volumes in ml; at most `BINS` bins, 1, 2 or 5 times a power of ten wide."""
    if not volumes:
        return []
    most = max(*volumes, 1e-3)
    width = next(
        step
        for power in range(-6, 9)
        for step in (10.0**power, 2 * 10.0**power, 5 * 10.0**power)
        if step * BINS >= most
    )
    return _bars(volumes, (), width * np.arange(math.ceil(most / width) + 1))


def _bars(labelled: Sequence[float], empty: Sequence[float], edges: np.ndarray) -> list[Bar]:
    counts = [
        np.histogram(np.clip(np.asarray(values, float), edges[0], edges[-1]), edges)[0]
        for values in (labelled, empty)
    ]
    return [
        Bar(round(float(low), 6), round(float(high), 6), int(first), int(second))
        for low, high, first, second in zip(edges, edges[1:], *counts, strict=False)
    ]


@dataclass(frozen=True)
class Change:
    """A setting that differs from the preset."""

    name: str
    preset: str
    here: str


def changes(settings: Settings) -> list[Change]:
    """Settings that differ from their preset, named as in `--set`."""
    usual = PRESETS.get(settings.preset, PRESETS["default"])
    return [
        Change(one.name, _text(one.before), _text(one.now))
        for one in differences(asdict(usual), asdict(settings))
    ]


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


@dataclass(frozen=True)
class Totals:
    """Counts and medians of a run; medians are None without labelled cases."""

    cases: int
    labelled: int
    trusted: int
    empty: int
    failed: int
    median_ml: float | None
    median_confidence: float | None


def totals(outcomes: Sequence[CaseOutcome]) -> Totals:
    """Counts by status; medians over the labelled cases."""
    labelled = [o for o in outcomes if o.status == "labelled"]
    return Totals(
        cases=len(outcomes),
        labelled=len(labelled),
        trusted=sum(o.status == "trusted" for o in outcomes),
        empty=sum(o.status == "empty" for o in outcomes),
        failed=sum(o.status == "failed" for o in outcomes),
        median_ml=float(np.median([o.label_ml for o in labelled])) if labelled else None,
        median_confidence=float(np.median([o.confidence for o in labelled])) if labelled else None,
    )
