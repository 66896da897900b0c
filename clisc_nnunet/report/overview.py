"""One picture of a run: a row per case, from the slice to its pseudo-label."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from clisc_nnunet.casework import Casework
from clisc_nnunet.outcome import CaseOutcome
from clisc_nnunet.prompts import make_prompts
from clisc_nnunet.records import Prompts
from clisc_nnunet.settings import PromptSettings

MAX_ROWS = 40
COLUMNS = ("slice", "CAM", "region, box and points", "pseudo-label")
ROI_COLOUR, LABEL_COLOUR, POSITIVE, NEGATIVE = "orange", "red", "lime", "deepskyblue"


@dataclass(frozen=True)
class Row:
    """What one row shows; arrays of one slice, (row, column).

    Parameters
    ----------
    title : str
    pixels : uint8 ndarray
    cam : float32 ndarray
        0..1.
    roi, label : bool ndarray
    prompts : Prompts or None
        Of this slice; None where there is no region.
    """

    title: str
    pixels: np.ndarray
    cam: np.ndarray
    roi: np.ndarray
    label: np.ndarray
    prompts: Prompts | None


def overview(work: Casework, outcomes: Sequence[CaseOutcome], path: Path) -> None:
    """Write the picture of a run, the least sure cases on top.

    Parameters
    ----------
    work : Casework
        After its last stage.
    outcomes : sequence of CaseOutcome
    path : Path
        A PNG file; written whole or not at all.
    """
    usable = sorted((o for o in outcomes if o.status != "failed"), key=lambda o: o.predicted_iou)
    failed = [o.case for o in outcomes if o.status == "failed"]
    shown = usable[:MAX_ROWS]
    title = f"{len(outcomes)} cases, the least sure on top"
    if len(shown) < len(usable):
        title += f"; {len(shown)} of {len(usable)} shown"
    if failed:
        title += f"; failed: {', '.join(failed[:6])}{' ...' if len(failed) > 6 else ''}"

    figure = Figure(figsize=(9.6, 0.6 + 2.55 * max(len(shown), 1)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10)
    grid = figure.subplots(max(len(shown), 1), len(COLUMNS), squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for axes, name in zip(grid[0], COLUMNS, strict=True):
        axes.set_title(name, fontsize=9)
    for axes, outcome in zip(grid, shown, strict=False):
        draw_row(axes, _row(work, outcome))
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    figure.savefig(temporary, dpi=80)
    os.replace(temporary, path)


def draw_row(axes: Sequence, row: Row) -> None:
    """Draw one row into four axes."""
    for axis in axes:
        axis.imshow(row.pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes[1].imshow(
        row.cam, cmap="inferno", vmin=0, vmax=1, alpha=np.where(row.cam > 0.05, 0.6, 0.0)
    )
    _outline(axes[2], row.roi, ROI_COLOUR)
    if row.prompts is not None:
        x0, y0, x1, y1 = row.prompts.boxes[0]
        axes[2].add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec="white", lw=0.8))
        for label, colour in ((1, POSITIVE), (0, NEGATIVE)):
            points = row.prompts.points[0][row.prompts.labels[0] == label]
            axes[2].plot(points[:, 0], points[:, 1], ".", color=colour, markersize=4)
    _outline(axes[3], row.label, LABEL_COLOUR)
    axes[0].text(
        0.01, 0.99, row.title, transform=axes[0].transAxes, color="white", fontsize=7, va="top"
    )


def _outline(axes, mask: np.ndarray, colour: str) -> None:
    if mask.any() and not mask.all():
        axes.contour(mask.astype(float), levels=[0.5], colors=[colour], linewidths=0.9)


def _row(work: Casework, outcome: CaseOutcome) -> Row:
    """The slice with the largest label; without any, the one most like a tumour's."""
    case = outcome.case
    stage = "raw" if work.settings.masking.mode == "off" else "enhanced"
    stack, region = work.stack(case), work.region(case, stage)
    masks, found = work.arrays(case, "masks"), work.arrays(case, f"{stage}_regions")
    label = np.zeros(stack.pixels.shape, bool)
    label[masks["planes"]] = masks["logits"] > 0
    area = label.sum(axis=(1, 2)) if label.any() else region.sum(axis=(1, 2))
    if area.any():
        plane = int(area.argmax())
    else:
        labels = work.arrays(case, "labels")
        plane = int(labels["planes"][labels["probability"].argmax()])
    cam = np.zeros(stack.pixels.shape[1:], np.float32)
    at = np.flatnonzero(found["planes"] == plane)
    if len(at):
        cam = found["cam"][at[0]] / np.float32(255)
    prompts = None
    if region[plane].any():
        settings: PromptSettings = work.settings.prompts
        prompts = make_prompts(stack.pixels[plane][None], region[plane][None], settings)
    size = f"{outcome.status}, {outcome.label_ml:.0f} ml"
    title = f"{case}\n{size}\nIoU by SAM {outcome.predicted_iou:.2f}"
    return Row(title, stack.pixels[plane], cam, region[plane], label[plane], prompts)
