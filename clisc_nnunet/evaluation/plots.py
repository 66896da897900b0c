"""Pictures of an evaluation: distributions of the scores, and outlines on a slice."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from clisc_nnunet.evaluation.case_scores import CaseScores

# Measures that the page plots, each with its title.
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
# Millimetres round the masks that a picture shows.
AROUND_MM = 25.0


def distributions(scores: Sequence[CaseScores]) -> bytes:
    """A box and a point per case for each measure of `PLOTTED`; a PNG file."""
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
        # Spread sideways, so that equal points do not hide each other; the same in every run.
        aside = np.random.default_rng(0).uniform(-0.18, 0.18, len(values))
        axes.plot(1 + aside, values, ".", color="tab:blue", markersize=4, alpha=0.7)
    return _png(figure)


def outlines(
    image: np.ndarray | None,
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing: tuple[float, float, float],
) -> bytes:
    """The most telling slice of a case in each direction, with both outlines; a PNG file.

    Parameters
    ----------
    image : float ndarray of shape (plane, row, column), optional
        The scan; without it the outlines lie on black.
    prediction, reference : bool ndarray of the same shape
    spacing : tuple of 3 float
        Millimetres: plane, row, column.

    Notes
    -----
    Shown is the plane where the most voxels differ, or where the masks agree everywhere, the one
    with the most voxels: the prediction in red, the reference in blue.
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    wrong = prediction ^ reference
    told = wrong if wrong.any() else prediction | reference
    box = _around(prediction | reference, spacing)
    white = None if image is None else max(float(np.percentile(image, 99.7)), 1e-6)
    for axis, axes in enumerate(figure.subplots(1, 3)):
        axes.set_axis_off()
        plane = int(told.sum(axis=tuple({0, 1, 2} - {axis})).argmax())
        window = tuple(slice(plane, plane + 1) if a == axis else box[a] for a in range(3))
        rows, columns = (spacing[a] for a in range(3) if a != axis)
        shown = np.zeros(wrong.shape, np.float32) if image is None else image
        axes.imshow(
            shown[window].squeeze(axis),
            cmap="gray",
            vmin=0 if image is None else float(image.min()),
            vmax=white or 1,
            aspect=rows / columns,
            # Planes go from the feet up: the head has to be on top.
            origin="upper" if axis == 0 else "lower",
        )
        for mask, colour in ((reference, REFERENCE_COLOUR), (prediction, PREDICTION_COLOUR)):
            part = mask[window].squeeze(axis)
            if part.any() and not part.all():
                axes.contour(part.astype(float), levels=[0.5], colors=[colour], linewidths=1.0)
    return _png(figure)


def _around(mask: np.ndarray, spacing: tuple[float, float, float]) -> list[slice]:
    """Box round a mask, with a margin; everything if the mask is empty."""
    if not mask.any():
        return [slice(None)] * 3
    box = []
    for axis, millimetres in enumerate(spacing):
        found = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        margin = round(AROUND_MM / millimetres)
        box.append(slice(max(found[0] - margin, 0), found[-1] + margin + 1))
    return box


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()
