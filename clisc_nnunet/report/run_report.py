"""`report.html`: the report of a run, a single page without external files or network access."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clisc_nnunet.dataset_layout import DatasetLayout, read_names
from clisc_nnunet.io.atomic_write import atomic_file
from clisc_nnunet.pipeline.case_result import CaseOutcome, least_sure_first
from clisc_nnunet.pipeline.run_results import RunResults
from clisc_nnunet.report import case_planes
from clisc_nnunet.report.case_planes import plane_views
from clisc_nnunet.report.html import environment
from clisc_nnunet.report.run_summary import changes, share_bars, totals, volume_bars
from clisc_nnunet.report.svg import OUTLINE_UNITS, PlanePicture, plane_picture

# Largest number of planes per case.
MAX_PLANES = 5
# Largest number of planes in the page, about 6 kB each: 500 cases with 5 planes take 15 MB.
PLANE_BUDGET = 2500


@dataclass(frozen=True)
class Card:
    """Content of the page for one case.

    Parameters
    ----------
    rank : int
        1 is the case to review first.
    planes : tuple of PlanePicture
        The most representative one first; empty for failed cases and beyond `PLANE_BUDGET`.
    """

    outcome: CaseOutcome
    rank: int
    planes: tuple[PlanePicture, ...]

    @property
    def strip(self) -> tuple[PlanePicture, ...]:
        """The planes from inferior to superior."""
        return tuple(sorted(self.planes, key=lambda picture: picture.plane))


def write_report(
    results: RunResults,
    outcomes: Sequence[CaseOutcome],
    record: Mapping[str, Any],
    dataset: DatasetLayout,
    *,
    keep_empty: bool = False,
    phantoms: Sequence[CaseOutcome] = (),
) -> None:
    """Write the page of a run.

    Parameters
    ----------
    results : RunResults
        After the last stage; arrays are read one case at a time.
    record : mapping
        Content of `run.json`: `command`, `clisc_nnunet`, `machine`, `versions`, `models` and
        `seconds`.
    dataset : DatasetLayout
        Its name is the title; its `report.html` is written atomically, and starts with the marks
        of its `trusted.txt` and `exclude.txt`.
    keep_empty : bool
        Cases without a tumour belong to the dataset, as background.
    phantoms : sequence of CaseOutcome
        Phantoms in the dataset; listed, and not counted as cases.

    Raises
    ------
    UserError
        If one of these lists is not a text file.
    """
    planes, pictured = planes_per_case(len(outcomes))
    page = render(
        title=dataset.folder.absolute().name,
        cards=cards(results, outcomes, planes, pictured),
        outcomes=outcomes,
        record=record,
        settings=results.config.settings,
        pictured=pictured,
        in_dataset=("labelled", "trusted", *(["empty"] if keep_empty else [])),
        lists=listed(dataset, outcomes),
        phantoms=phantoms,
        written=datetime.now().astimezone().strftime("%d %B %Y, %H:%M %Z"),
    )
    with (
        atomic_file(dataset.report_html) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        file.writelines(page)


def listed(dataset: DatasetLayout, outcomes: Sequence[CaseOutcome]) -> dict[str, dict[str, str]]:
    """Cases in the lists `trusted` and `exclude`, each with its line.

    Cases with corrected labels count as trusted, even if the list does not contain them yet.
    """
    corrected = {o.case: o.case for o in outcomes if o.status == "trusted"}
    return {
        "trusted": corrected | read_names(dataset.trusted_txt),
        "exclude": read_names(dataset.exclude_txt),
    }


def planes_per_case(cases: int) -> tuple[int, int]:
    """Planes per case, and number of cases with pictures, for a page below about 20 MB."""
    return max(1, min(MAX_PLANES, PLANE_BUDGET // max(cases, 1))), PLANE_BUDGET


def cards(
    results: RunResults, outcomes: Sequence[CaseOutcome], planes: int, pictured: int
) -> Iterator[Card]:
    """Cases in the order of the page, rendered one at a time.

    Parameters
    ----------
    planes : int
        Planes per case.
    pictured : int
        Number of cases with pictures, the least confident ones.
    """
    for rank, outcome in enumerate(least_sure_first(outcomes), start=1):
        views = []
        # The label of a trusted case may differ from the masks of this run.
        if outcome.status in ("labelled", "empty") and rank <= pictured:
            views = plane_views(results, outcome, planes)
        yield Card(outcome, rank, tuple(plane_picture(view) for view in views))


def numbers(outcome: CaseOutcome) -> list[tuple[str, str]]:
    """Numbers of a case on the page: term and value."""
    return [
        ("confidence", f"{outcome.confidence:.2f}"),
        ("SAM's IoU", f"{outcome.predicted_iou:.2f}"),
        ("agreement", f"{outcome.agreement:.2f}"),
        ("brain kept", f"{outcome.brain_share:.0%}"),
        ("slices", str(outcome.slices)),
        ("tumour by CLIP", str(outcome.clip_tumour_slices)),
        ("by classifier", str(outcome.classifier_tumour_slices)),
        ("with a region", str(outcome.region_slices)),
    ]


def render(
    *, cards: Iterator[Card] | Sequence[Card], outcomes: Sequence[CaseOutcome], **values: Any
) -> Iterator[str]:
    """The page in pieces, so that the pictures of only one case are in memory.

    Parameters
    ----------
    cards : iterable of Card
        One per outcome.
    values
        `title`, `record`, `settings`, `pictured`, `in_dataset`, `lists`, `phantoms` and `written`,
        see `write_report`.
    """
    settings = values["settings"]
    drawn = [o for o in outcomes if o.status != "failed"]
    labelled = [o for o in drawn if o.status == "labelled"]
    empty = [o for o in drawn if o.status == "empty"]
    stream = (
        environment()
        .get_template("report.html")
        .stream(
            cards=cards,
            totals=totals(outcomes),
            changes=changes(settings),
            numbers=numbers,
            outline_units=OUTLINE_UNITS,
            confidence_bars=share_bars(
                [o.confidence for o in labelled], [o.confidence for o in empty]
            ),
            iou_bars=share_bars(
                [o.predicted_iou for o in labelled], [o.predicted_iou for o in empty]
            ),
            volume_bars=volume_bars([o.label_ml for o in labelled]),
            colours={
                "roi": case_planes.ROI_COLOUR,
                "label": case_planes.LABEL_COLOUR,
                "rejected": case_planes.REJECTED_COLOUR,
                "positive": case_planes.POSITIVE,
                "negative": case_planes.NEGATIVE,
            },
            **values,
        )
    )
    stream.enable_buffering(200)
    return iter(stream)
