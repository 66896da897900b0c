"""Figure and HTML page showing how text prompts separate slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from clisc_nnunet.io.atomic_write import atomic_file, write_text
from clisc_nnunet.quality_control.prompt_separation import PromptCheck, advice, extreme_slices
from clisc_nnunet.report.html import figure_uri, render, slice_uri

# Number of slices in a strip, and of curves in a plot.
STRIP, MAX_CURVES = 8, 12
TUMOUR_COLOUR, NORMAL_COLOUR, UNSURE_COLOUR = "#c0392b", "#2b6ca3", "#9a9a9a"
# Height of the row of one prompt set in the PNG.
ROW_INCHES = 5.4

Pixels = Mapping[str, np.ndarray]


def write_page(checks: Sequence[PromptCheck], pixels: Pixels, path: Path, command: str) -> None:
    """Write a self-contained HTML page.

    Parameters
    ----------
    checks : sequence of PromptCheck
        One per prompt set, all for the same cases.
    pixels : mapping of case to uint8 ndarray of shape (n, row, column)
        Slices of the checks.
    path : Path
    command : str
        Command line, shown on the page.
    """
    sets = [
        {
            "check": check,
            "advice": advice(check),
            "figure": figure_uri(_curves_alone(check)),
            "strips": [
                {"title": f"{word} tumour-like", "slices": _strip(check, pixels, most=most)}
                for word, most in (("most", True), ("least", False))
            ],
        }
        for check in checks
    ]
    write_text(path, render("prompts.html", sets=sets, command=command))


def write_picture(checks: Sequence[PromptCheck], pixels: Pixels, path: Path) -> None:
    """Write the content of the page as one PNG."""
    figure = Figure(figsize=(11, ROW_INCHES * len(checks)), layout="constrained")
    parts = figure.subfigures(len(checks), 1, squeeze=False)[:, 0]
    for part, check in zip(parts, checks, strict=True):
        # Names may contain dollar signs; wrapped text does not support parse_math=False.
        title = f"{check.name}: {advice(check)}".replace("$", r"\$")
        part.suptitle(title, fontsize=9, wrap=True)
        above, below = part.subfigures(2, 1, height_ratios=[1.15, 1])
        draw_probabilities(above, check)
        grid = below.subplots(2, STRIP, squeeze=False)
        for row, most in zip(grid, (True, False), strict=True):
            _draw_strip(row, check, pixels, most=most)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=90, format="png")


def draw_probabilities(figure: Figure | SubFigure, check: PromptCheck) -> None:
    """Histogram of all slices, and a curve over height for each volume."""
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.6])
    every = np.concatenate([slices.probability for slices in check.cases.values()])
    low, high = 1 - check.limit, check.limit
    bins = np.linspace(0, 1, 26)
    counts, _ = np.histogram(every, bins)
    middles = (bins[1:] + bins[:-1]) / 2
    colours = np.where(
        middles >= high, TUMOUR_COLOUR, np.where(middles <= low, NORMAL_COLOUR, UNSURE_COLOUR)
    )
    left.bar(middles, counts, width=0.036, color=colours.tolist())
    left.set_xlim(0, 1)
    left.set_xlabel("probability of tumour")
    left.set_ylabel("slices")
    left.set_title(
        f"{check.normal:.0%} normal, {check.unsure:.0%} unsure, {check.tumour:.0%} tumour",
        fontsize=9,
    )
    for case, slices in list(check.cases.items())[:MAX_CURVES]:
        right.plot(slices.height_mm, slices.probability, lw=1.2, label=case)
    right.axhspan(low, high, color=UNSURE_COLOUR, alpha=0.25, lw=0)
    right.set_ylim(-0.02, 1.02)
    right.set_xlabel("height above the lowest slice, mm")
    right.set_title("probability of tumour by height, one curve per volume", fontsize=9)
    for name in right.legend(fontsize=7, frameon=False).get_texts():
        name.set_parse_math(False)  # case names may contain dollar signs
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)


def _curves_alone(check: PromptCheck) -> Figure:
    figure = Figure(figsize=(10, 2.9), layout="constrained")
    draw_probabilities(figure, check)
    return figure


def _strip(check: PromptCheck, pixels: Pixels, *, most: bool) -> list[dict[str, str]]:
    return [
        {
            "picture": slice_uri(pixels[case][index]),
            "case": case,
            "facts": f"{check.cases[case].probability[index]:.2f} at "
            f"{check.cases[case].height_mm[index]:.0f} mm",
        }
        for case, index in extreme_slices(check, STRIP, most=most)
    ]


def _draw_strip(row: Sequence[Axes], check: PromptCheck, pixels: Pixels, *, most: bool) -> None:
    for axes in row:
        axes.set_axis_off()
    for axes, (case, index) in zip(row, extreme_slices(check, STRIP, most=most), strict=False):
        axes.imshow(pixels[case][index], cmap="gray", vmin=0, vmax=255)
        probability = check.cases[case].probability[index]
        axes.set_title(f"{case[-18:]}\n{probability:.2f}", fontsize=6, parse_math=False)
