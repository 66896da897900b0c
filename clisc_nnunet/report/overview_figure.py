"""Overview figure of a run: one row per case, from the slice to the pseudo-label."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from clisc_nnunet.io.atomic_write import atomic_file
from clisc_nnunet.pipeline.case_result import CaseOutcome, least_sure_first
from clisc_nnunet.pipeline.run_results import RunResults
from clisc_nnunet.report.case_planes import (
    LABEL_COLOUR,
    NEGATIVE,
    POSITIVE,
    REJECTED_COLOUR,
    ROI_COLOUR,
    PlaneView,
    plane_views,
)

MAX_ROWS = 40
# Largest number of failed cases that are named.
MAX_NAMES = 40
COLUMNS = ("slice", "CAM", "region, box and points", "pseudo-label")


def overview(results: RunResults, outcomes: Sequence[CaseOutcome], path: Path) -> None:
    """Write the overview, the least confident cases on top; failed cases are listed below.

    Parameters
    ----------
    results : RunResults
        After the last stage; arrays are read one case at a time.
    path : Path
        PNG file, written atomically.

    Notes
    -----
    Shows the slices of stage 1, with the patient's right on the left.
    """
    shown, title, failed = contents(outcomes)
    figure = Figure(figsize=(9.6, 0.8 + 2.55 * max(len(shown), 1)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10)
    figure.supxlabel(textwrap.fill(failed, 120), fontsize=8, parse_math=False)
    grid = figure.subplots(max(len(shown), 1), len(COLUMNS), squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for axes, name in zip(grid[0], COLUMNS, strict=True):
        axes.set_title(name, fontsize=9)
    for axes, outcome in zip(grid, shown, strict=False):
        draw_row(axes, row_title(outcome), plane_views(results, outcome)[0])
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=80)


def contents(outcomes: Sequence[CaseOutcome]) -> tuple[list[CaseOutcome], str, str]:
    """Rows and texts of the overview.

    Returns
    -------
    shown : list of CaseOutcome
        At most `MAX_ROWS` cases, the least confident first.
    title : str
    failed : str
        Line that lists the failed cases; empty without any.
    """
    usable = [o for o in least_sure_first(outcomes) if o.status in ("labelled", "empty")]
    shown = usable[:MAX_ROWS]
    title = f"{len(outcomes)} cases, the least confident on top"
    if len(shown) < len(usable):
        title += f"; showing the {len(shown)} least confident of {len(usable)} usable ones"
    names = [o.case for o in outcomes if o.status == "failed"]
    failed = f"{len(names)} failed: {', '.join(names[:MAX_NAMES])}" if names else ""
    if len(names) > MAX_NAMES:
        failed += f" and {len(names) - MAX_NAMES} more"
    return shown, title, failed


def row_title(outcome: CaseOutcome) -> str:
    """Text of a row: case, status, volume, and confidence or reason."""
    title = f"{outcome.case}\n{outcome.status}, {outcome.label_ml:.0f} ml"
    if outcome.status == "labelled":
        return f"{title}\nconfidence {outcome.confidence:.2f}"
    return f"{title}\n{textwrap.fill(outcome.reason, 40)}"


def draw_row(axes: Sequence[Axes], title: str, view: PlaneView) -> None:
    """Draw one row into four axes, one for each of `COLUMNS`."""
    for axis in axes:
        axis.imshow(view.pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    # Opacity follows the CAM, so that the brain remains visible.
    axes[1].imshow(view.cam, cmap="inferno", vmin=0, vmax=1, alpha=0.8 * view.cam)
    _outline(axes[2], view.roi, ROI_COLOUR)
    if view.prompts is not None:
        x0, y0, x1, y1 = view.prompts.boxes[0]
        axes[2].add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec="white", lw=0.8))
        for label, colour in ((1, POSITIVE), (0, NEGATIVE)):
            points = view.prompts.points[0][view.prompts.labels[0] == label]
            axes[2].plot(points[:, 0], points[:, 1], ".", color=colour, markersize=4)
    _outline(axes[3], view.label, REJECTED_COLOUR if view.rejected else LABEL_COLOUR)
    axes[0].text(
        0.01,
        0.99,
        title,
        transform=axes[0].transAxes,
        color="white",
        fontsize=7,
        va="top",
        clip_on=True,
        parse_math=False,  # case names may contain dollar signs
        bbox={"facecolor": "black", "alpha": 0.5, "linewidth": 0, "pad": 1},
    )


def _outline(axes: Axes, mask: np.ndarray, colour: str) -> None:
    if mask.any() and not mask.all():
        axes.contour(mask.astype(float), levels=[0.5], colors=[colour], linewidths=0.9)
