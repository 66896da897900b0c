"""An evaluation as one page of HTML that needs no other file."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from clisc_nnunet.evaluation.case_scores import CaseScores
from clisc_nnunet.evaluation.plots import distributions
from clisc_nnunet.evaluation.summary import by_dice
from clisc_nnunet.evaluation.tables import is_nan, shown


@dataclass(frozen=True)
class Picture:
    """A case that the page shows: why (`worst`), its scores, and a PNG file."""

    title: str
    scores: CaseScores
    png: bytes


def render(
    heading: str,
    summary_rows: Sequence[Mapping[str, Any]],
    scores: Sequence[CaseScores],
    notes: Sequence[str],
    pictures: Sequence[Picture],
) -> str:
    """The page's HTML.

    Parameters
    ----------
    heading : str
    summary_rows : sequence of mappings with the same keys
        At least one.
    scores : sequence of CaseScores
        At least one; the table shows the worst first.
    notes : sequence of str
        What a reader has to know beside the tables.
    pictures : sequence of Picture
    """
    # Names of cases and folders are a user's: they are escaped.
    environment = Environment(
        loader=PackageLoader("clisc_nnunet.evaluation", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = lambda value, key: "–" if is_nan(value) else shown(key, value)
    environment.filters["data_uri"] = data_uri
    return environment.get_template("page.html").render(
        heading=heading,
        summary=summary_rows,
        cases=[asdict(s) for s in by_dice(scores)],
        notes=notes,
        pictures=pictures,
        distributions=distributions(scores),
    )


def data_uri(png: bytes) -> str:
    """A PNG file as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
