"""What rounds cost: `python -m benchmarks.round_cost FOLD_FOLDER [...]`.

Reads the logs and the reports that trainings have left in their folders `fold_X`, and prints the
time of a round beside that of an epoch, the share of SAM in it, and the memory peak before and
after.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

EPOCHS = 1000


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", help="folders fold_X of trained models")
    options = parser.parse_args(argv)
    print("| training | cases | epoch | predicting | judging by SAM | round / epoch | GB |")
    print("| - | - | - | - | - | - | - |")
    for folder in options.folders:
        epoch = float(np.mean(epoch_seconds(folder)))
        for path in sorted((folder / "clisc").glob("round_*.json")):
            print(row(folder.parent.name, epoch, json.loads(path.read_text())))
    print(f"\nOne round in {EPOCHS} epochs costs a {EPOCHS}th of the last but one column.")
    return 0


def epoch_seconds(folder: Path) -> list[float]:
    """Seconds of every epoch, from all logs of a training."""
    logs = sorted(folder.glob("training_log_*.txt"))
    text = "".join(path.read_text(encoding="utf-8") for path in logs)
    return [float(seconds) for seconds in re.findall(r"Epoch time: ([\d.]+) s", text)]


def row(name: str, epoch: float, facts: dict) -> str:
    """One round as a row of the table."""
    predicting, judging = (facts["seconds"][key] for key in ("predicting", "judging"))
    memory = facts["peak_memory_gb"]
    cells = [
        name,
        len(facts["cases"]),
        f"{epoch:.1f} s",
        f"{predicting:.1f} s",
        f"{judging:.1f} s",
        f"{(predicting + judging) / epoch:.1f}",
        f"{memory['before']} -> {memory['after']}",
    ]
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    sys.exit(main())
