"""Figures of an evaluation: score distributions, and outlines on slices."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from clisc_nnunet.evaluation.case_scores import CaseScores

# Measures plotted on the page, with their titles.
PLOTTED = {
    "dice": "Dice",
    "hd95_mm": "HD95 (mm)",
    "mean_distance_mm": "mean surface distance (mm)",
    "surface_dice": "surface Dice",
    "precision": "precision",
    "recall": "recall",
    "volume_difference_ml": "volume difference (ml)",
}
PREDICTION_COLOUR, REFERENCE_COLOUR = "red", "deepskyblue"
# Margin around the masks in a figure, in millimetres.
MARGIN_MM = 25.0


def distributions(scores: Sequence[CaseScores]) -> bytes:
    """Box plot of each measure of `PLOTTED`, with one point per case, as a PNG file."""
    figure = Figure(figsize=(1.6 * len(PLOTTED), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, title) in zip(figure.subplots(1, len(PLOTTED)), PLOTTED.items(), strict=True):
        values = np.array([getattr(s, name) for s in scores])
        values = values[~np.isnan(values)]
        axes.set_title(title, fontsize=8)
        axes.tick_params(labelsize=7)
        axes.set_xlim(0.5, 1.5)
        axes.set_xticks([])
        if not len(values):
            axes.text(1, 0.5, "undefined", ha="center", fontsize=8)
            continue
        axes.boxplot(values, positions=[1], widths=0.6, showfliers=False, manage_ticks=False)
        # Horizontal jitter separates equal values; the seed keeps it reproducible.
        jitter = np.random.default_rng(0).uniform(-0.18, 0.18, len(values))
        axes.plot(1 + jitter, values, ".", color="tab:blue", markersize=4, alpha=0.7)
    return _png(figure)


def outlines(
    image: np.ndarray | None,
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing: tuple[float, float, float],
) -> bytes:
    """Most informative slice in each direction, with both outlines, as a PNG file.

    Parameters
    ----------
    image : float ndarray of shape (plane, row, column), optional
        The scan; without it, outlines are drawn on black.
    prediction, reference : bool ndarray of the same shape
    spacing : tuple of 3 float
        In millimetres, ordered plane, row, column.

    Notes
    -----
    The plane with the most differing voxels is shown or, if the masks are equal, the plane with
    the largest area. The prediction is red, the reference blue.
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    wrong = prediction ^ reference
    ranked_by = wrong if wrong.any() else prediction | reference
    box = _around(prediction | reference, spacing)
    brightest = None if image is None else max(float(np.percentile(image, 99.7)), 1e-6)
    for axis, axes in enumerate(figure.subplots(1, 3)):
        axes.set_axis_off()
        plane = int(ranked_by.sum(axis=tuple({0, 1, 2} - {axis})).argmax())
        window = tuple(slice(plane, plane + 1) if a == axis else box[a] for a in range(3))
        rows, columns = (spacing[a] for a in range(3) if a != axis)
        shown = np.zeros(wrong.shape, np.float32) if image is None else image
        axes.imshow(
            shown[window].squeeze(axis),
            cmap="gray",
            vmin=0 if image is None else float(image.min()),
            vmax=brightest or 1,
            aspect=rows / columns,
            # Planes are ordered from inferior to superior.
            origin="upper" if axis == 0 else "lower",
        )
        for mask, colour in ((reference, REFERENCE_COLOUR), (prediction, PREDICTION_COLOUR)):
            part = mask[window].squeeze(axis)
            if part.any() and not part.all():
                axes.contour(part.astype(float), levels=[0.5], colors=[colour], linewidths=1.0)
    return _png(figure)


def _around(mask: np.ndarray, spacing: tuple[float, float, float]) -> list[slice]:
    """Bounding box of a mask with a margin; the full volume if the mask is empty."""
    if not mask.any():
        return [slice(None)] * 3
    box = []
    for axis, millimetres in enumerate(spacing):
        found = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        margin = round(MARGIN_MM / millimetres)
        box.append(slice(max(found[0] - margin, 0), found[-1] + margin + 1))
    return box


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()
