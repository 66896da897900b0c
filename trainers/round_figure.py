"""Figure of a round of S3F: sorted similarities, and the least and most similar cases."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

KEPT, REJECTED = "#2b7a4b", "#c0392b"
OUTLINES = {"label": "deepskyblue", "network": "red", "SAM": "gold"}


@dataclass(frozen=True)
class RoundSnapshot:
    """One slice of a case with three masks.

    Parameters
    ----------
    pixels : uint8 ndarray of shape (row, column)
    label, network, sam : bool ndarray of the same shape
        Current label, prediction, and SAM's segmentation.
    """

    pixels: np.ndarray
    label: np.ndarray
    network: np.ndarray
    sam: np.ndarray

    @classmethod
    def of(
        cls, pixels: np.ndarray, label: np.ndarray, network: np.ndarray, sam: np.ndarray
    ) -> RoundSnapshot:
        """Plane with the largest area of prediction plus label; arrays (plane, row, column)."""
        areas = network.sum(axis=(1, 2)) + label.sum(axis=(1, 2))
        plane = int(areas.argmax()) if areas.any() else len(pixels) // 2
        return cls(pixels[plane], label[plane], network[plane], sam[plane])

    def save(self, path: Path) -> None:
        """Write an .npz file."""
        np.savez_compressed(path, **vars(self))

    @classmethod
    def load(cls, path: Path) -> RoundSnapshot:
        """Read a file written by `save`."""
        with np.load(path) as file:
            return cls(*(file[name] for name in ("pixels", "label", "network", "sam")))


def draw_round(
    similarity: Mapping[str, float],
    kept: Collection[str],
    snapshots: Mapping[str, RoundSnapshot],
    title: str,
    path: Path,
) -> None:
    """Draw the figure of a round and save it.

    Parameters
    ----------
    similarity : mapping of case to float
        0 to 1.
    kept : collection of str
        Cases that stay in the training set.
    snapshots : mapping of case to RoundSnapshot
        Cases to show, in this order.
    title : str
    path : Path
        A .png file, written atomically.
    """
    columns = min(max(len(snapshots), 1), 4)
    rows = math.ceil(len(snapshots) / columns)
    figure = Figure(figsize=(3.0 * columns + 0.6, 2.6 + 3.3 * rows), layout="constrained")
    figure.suptitle(title, fontsize=9, wrap=True)
    grid = figure.add_gridspec(1 + rows, columns, height_ratios=[2.2, *[3.0] * rows])
    _draw_order(figure.add_subplot(grid[0, :]), similarity, kept)
    for place, (case, snapshot) in enumerate(snapshots.items()):
        axes = figure.add_subplot(grid[1 + place // columns, place % columns])
        axes.imshow(snapshot.pixels, cmap="gray", vmin=0, vmax=255)
        for mask, colour in zip(
            (snapshot.label, snapshot.network, snapshot.sam), OUTLINES.values(), strict=True
        ):
            if mask.any():
                axes.contour(mask, levels=[0.5], colors=[colour], linewidths=1.1)
        state = "kept" if case in kept else "rejected"
        axes.set_title(
            f"{case}\n{similarity[case]:.3f}, {state}",
            fontsize=8,
            color=KEPT if case in kept else REJECTED,
            parse_math=False,  # case names may contain dollar signs
        )
        axes.set_axis_off()
    handles = [Line2D([], [], color=c, label=name) for name, c in OUTLINES.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    temporary = path.with_name(f".{path.name}")
    try:
        figure.savefig(temporary, dpi=90, format="png")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _draw_order(axes: Axes, similarity: Mapping[str, float], kept: Collection[str]) -> None:
    order = sorted(similarity, key=lambda case: (similarity[case], case))
    colours = [KEPT if case in kept else REJECTED for case in order]
    axes.bar(range(len(order)), [similarity[case] for case in order], color=colours, width=0.85)
    # Override the style that nnU-Net sets for its own plots.
    axes.set_facecolor("white")
    axes.grid(False)
    axes.set_ylim(0, 1)
    axes.set_xlim(-0.6, len(order) - 0.4)
    axes.set_ylabel("similarity", fontsize=8)
    axes.set_xlabel("cases, least similar first; red: rejected", fontsize=8)
    axes.tick_params(labelsize=7, labelbottom=False, bottom=False)
    axes.spines[["top", "right"]].set_visible(False)
