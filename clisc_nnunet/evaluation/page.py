"""Self-contained HTML page of an evaluation."""

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
    """A case shown on the page: why it was chosen (e.g. `worst`), its scores, and a PNG file."""

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
    """Render the page.

    Parameters
    ----------
    summary_rows : sequence of mappings with the same keys
        At least one.
    scores : sequence of CaseScores
        At least one; the table is sorted from worst to best.
    notes : sequence of str
        Paragraphs below the tables.
    """
    # Case and folder names come from the user, hence the escaping.
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
    """A PNG file as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
