"""One picture of a run: a row per case, from the slice to its pseudo-label."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from clisc_nnunet.casework import Casework
from clisc_nnunet.outcome import CaseOutcome
from clisc_nnunet.prompts import make_prompts
from clisc_nnunet.pseudo_label import fill_holes, stack_masks
from clisc_nnunet.records import Masks, Prompts

MAX_ROWS = 40
# Failed cases that are named; a whole folder of them would hide the picture.
MAX_NAMES = 40
COLUMNS = ("slice", "CAM", "region, box and points", "pseudo-label")
ROI_COLOUR, LABEL_COLOUR, POSITIVE, NEGATIVE = "orange", "red", "lime", "deepskyblue"
# What SAM drew, but was not sure of: the case has no label.
REJECTED_COLOUR = "grey"


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
    rejected : bool
        `label` is what SAM drew, but the case is left without one.
    """

    title: str
    pixels: np.ndarray
    cam: np.ndarray
    roi: np.ndarray
    label: np.ndarray
    prompts: Prompts | None
    rejected: bool = False


def overview(work: Casework, outcomes: Sequence[CaseOutcome], path: Path) -> None:
    """Write the picture of a run, the least sure cases on top; failed ones are named below.

    Parameters
    ----------
    work : Casework
        After its last stage; one case at a time is read from its store.
    outcomes : sequence of CaseOutcome
    path : Path
        A PNG file; written whole or not at all.

    Notes
    -----
    Slices are those of the models, on their own grid, with the patient's right on the left.
    """
    shown, title, failed = contents(outcomes)
    figure = Figure(figsize=(9.6, 0.8 + 2.55 * max(len(shown), 1)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10)
    figure.supxlabel(textwrap.fill(failed, 120), fontsize=8)
    grid = figure.subplots(max(len(shown), 1), len(COLUMNS), squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for axes, name in zip(grid[0], COLUMNS, strict=True):
        axes.set_title(name, fontsize=9)
    for axes, outcome in zip(grid, shown, strict=False):
        draw_row(axes, _row(work, outcome))
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        figure.savefig(temporary, dpi=80)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def contents(outcomes: Sequence[CaseOutcome]) -> tuple[list[CaseOutcome], str, str]:
    """What the picture of a run shows.

    Returns
    -------
    shown : list of CaseOutcome
        At most `MAX_ROWS` cases, by SAM's own estimate, the lowest first.
    title : str
    failed : str
        The line below that names the cases that failed; empty if none did.
    """
    usable = sorted((o for o in outcomes if o.status != "failed"), key=lambda o: o.predicted_iou)
    shown = usable[:MAX_ROWS]
    title = f"{len(outcomes)} cases, the least sure on top"
    if len(shown) < len(usable):
        title += f"; the {len(shown)} least sure of {len(usable)} usable ones are shown"
    names = [o.case for o in outcomes if o.status == "failed"]
    failed = f"{len(names)} failed: {', '.join(names[:MAX_NAMES])}" if names else ""
    if len(names) > MAX_NAMES:
        failed += f" and {len(names) - MAX_NAMES} more"
    return shown, title, failed


def draw_row(axes: Sequence[Axes], row: Row) -> None:
    """Draw one row into four axes, one for each of `COLUMNS`."""
    for axis in axes:
        axis.imshow(row.pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    # The more active, the more opaque: where the CAM is low, the brain is seen.
    axes[1].imshow(row.cam, cmap="inferno", vmin=0, vmax=1, alpha=0.8 * row.cam)
    _outline(axes[2], row.roi, ROI_COLOUR)
    if row.prompts is not None:
        x0, y0, x1, y1 = row.prompts.boxes[0]
        axes[2].add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec="white", lw=0.8))
        for label, colour in ((1, POSITIVE), (0, NEGATIVE)):
            points = row.prompts.points[0][row.prompts.labels[0] == label]
            axes[2].plot(points[:, 0], points[:, 1], ".", color=colour, markersize=4)
    _outline(axes[3], row.label, REJECTED_COLOUR if row.rejected else LABEL_COLOUR)
    axes[0].text(
        0.01,
        0.99,
        row.title,
        transform=axes[0].transAxes,
        color="white",
        fontsize=7,
        va="top",
        clip_on=True,
        bbox={"facecolor": "black", "alpha": 0.5, "linewidth": 0, "pad": 1},
    )


def _outline(axes: Axes, mask: np.ndarray, colour: str) -> None:
    if mask.any() and not mask.all():
        axes.contour(mask.astype(float), levels=[0.5], colors=[colour], linewidths=0.9)


def _row(work: Casework, outcome: CaseOutcome) -> Row:
    case, settings = outcome.case, work.settings
    stage = "raw" if settings.masking.mode == "off" else "enhanced"
    stack, region = work.stack(case), work.region(case, stage)
    label = _label(work, case, stack.pixels.shape)
    plane = _telling_plane(work, case, label, region)

    found = work.arrays(case, f"{stage}_regions")
    cam = np.zeros(stack.pixels.shape[1:], np.float32)
    at = np.flatnonzero(found["planes"] == plane)
    if len(at):
        cam = found["cam"][at[0]] / np.float32(255)
    prompts = None
    if region[plane].any():
        prompts = make_prompts(stack.pixels[plane][None], region[plane][None], settings.prompts)
    title = f"{case}\n{outcome.status}, {outcome.label_ml:.0f} ml"
    if outcome.status == "labelled":
        title += f"\nIoU by SAM {outcome.predicted_iou:.2f}"
    else:
        title += "\n" + textwrap.fill(outcome.reason, 40)
    rejected = outcome.status == "empty"
    return Row(title, stack.pixels[plane], cam, region[plane], label[plane], prompts, rejected)


def _label(work: Casework, case: str, shape: tuple[int, int, int]) -> np.ndarray:
    """Pseudo-label on the models' slices, bool (plane, row, column)."""
    kept = work.arrays(case, "masks")
    masks = Masks(kept["logits"].astype(np.float32), kept["predicted_iou"])
    logits = stack_masks(masks, kept["planes"], shape)
    return (fill_holes(logits) if work.settings.pseudo_label.fill_holes else logits) > 0


def _telling_plane(work: Casework, case: str, label: np.ndarray, region: np.ndarray) -> int:
    """Plane of the largest label, else of the largest region, else the likeliest one for CLIP."""
    for mask in (label, region):
        if mask.any():
            return int(mask.sum(axis=(1, 2)).argmax())
    labels = work.arrays(case, "labels")
    likely = labels["planes"][labels["probability"] == labels["probability"].max()]
    return int(likely[len(likely) // 2])  # given labels are often equal in all planes
