"""Note in a bundled model's card what a benchmark found on real scans.

    python -m benchmarks.note_in_card MODEL FIGURES.json --on NAME --command TEXT --looked N

FIGURES.json is what the command printed or wrote. `--looked` says how many times the results on
real scans had been looked at while the models were developed; a later note replaces an earlier
one of the same NAME.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clisc_nnunet.bundled.train import MODELS
from clisc_nnunet.errors import UserError
from clisc_nnunet.io.atomic_write import write_text
from clisc_nnunet.models.weights import BUNDLED


def with_note(
    card: Mapping[str, Any], name: str, figures: Mapping[str, Any], command: str, looked: int
) -> dict[str, Any]:
    """Card with the figures of one benchmark under `real_scans`, beside those of others."""
    noted = {
        **card.get("real_scans", {}),
        "looked_at_while_developing": looked,
        name: {"command": command, "weights_sha256": card["sha256"], "figures": dict(figures)},
    }
    return {**card, "real_scans": noted}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("figures", type=Path, help="JSON object")
    parser.add_argument("--on", required=True, metavar="NAME", help="the scans, in a word")
    parser.add_argument("--command", required=True, help="what printed the figures")
    parser.add_argument("--looked", type=int, required=True, metavar="N")
    parser.add_argument("--cards", type=Path, default=BUNDLED, help="folder of the cards")
    arguments = parser.parse_args(argv)
    path = arguments.cards / f"{arguments.model}.json"
    try:
        figures = json.loads(arguments.figures.read_text(encoding="utf-8"))
        if not isinstance(figures, dict):
            raise ValueError(f"a {type(figures).__name__}")
    except (OSError, ValueError) as error:
        mistake = UserError(arguments.figures, str(error), "a JSON object", "check the path")
        print(f"error: {mistake}", file=sys.stderr)
        return mistake.exit_status
    card = json.loads(path.read_text(encoding="utf-8"))
    card = with_note(card, arguments.on, figures, arguments.command, arguments.looked)
    write_text(path, json.dumps(card, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
