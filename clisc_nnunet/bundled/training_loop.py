"""Training loop of the bundled models, with learning rate schedule, log and checkpoints."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from clisc_nnunet.errors import UserError
from clisc_nnunet.provenance import differences, found_and_expected


@dataclass(frozen=True)
class LoopSettings:
    """Length, learning rate and intervals of a training; counted in steps."""

    steps: int
    learning_rate: float
    warm_up: int = 100
    weight_decay: float = 0.02
    clip_gradient: float = 1.0
    log_every: int = 50
    save_every: int = 200


def learning_rate(step: int, settings: LoopSettings) -> float:
    """Learning rate of a step: linear warm-up, then cosine decay to 1 % of the maximum."""
    rising = min(1.0, (step + 1) / settings.warm_up)
    falling = 0.5 * (1 + math.cos(math.pi * step / settings.steps)) * 0.99 + 0.01
    return settings.learning_rate * rising * falling


def train(
    module: torch.nn.Module,
    step: Callable[[int], tuple[torch.Tensor, dict[str, float]]],
    settings: LoopSettings,
    checkpoint: Path,
    report: Callable[[str], None] = print,
    made_with: Mapping[str, Any] | None = None,
) -> list[dict[str, float]]:
    """Train for `settings.steps` steps, resuming from `checkpoint` if it exists.

    Parameters
    ----------
    module : Module
        Trained in place.
    step : callable
        Takes the step number, which must seed all randomness, so that resumed trainings are
        identical to uninterrupted ones; returns the loss and metrics for the log.
    settings : LoopSettings
    checkpoint : Path
        Written atomically every `save_every` steps.
    report : callable
        Receives lines of the log.
    made_with : mapping, optional
        Everything that affects the result, as JSON types; stored in the checkpoint.

    Returns
    -------
    list of dict
        Training curve: mean metrics of every `log_every` steps.

    Raises
    ------
    UserError
        If the checkpoint belongs to a training with a different `made_with`.
    """
    record = None if made_with is None else json.dumps(made_with)
    optimiser = torch.optim.AdamW(
        module.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    first, curve = 0, []
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        # Old checkpoints lack the record and remain without it, since it is unknown how their
        # first steps were made.
        if made_with is not None and saved.get("made_with") is not None:
            _check_same_training(checkpoint, json.loads(saved["made_with"]), made_with)
        record = saved.get("made_with")
        module.load_state_dict(saved["module"])
        optimiser.load_state_dict(saved["optimiser"])
        first, curve = saved["step"], json.loads(saved["curve"])
        if first >= settings.steps:
            report(f"already finished: step {first} of {settings.steps} in {checkpoint}")
        else:
            report(f"resuming from step {first} of {checkpoint}")
    module.train()
    recent: list[dict[str, float]] = []
    started = time.monotonic()
    for number in range(first, settings.steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(number, settings)
        loss, metrics = step(number)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), settings.clip_gradient)
        optimiser.step()
        recent.append({"loss": float(loss.detach()), **metrics})
        done = number + 1
        if done % settings.log_every == 0 or done == settings.steps:
            means = {key: sum(r[key] for r in recent) / len(recent) for key in recent[0]}
            curve.append({"step": done, **{k: round(v, 4) for k, v in means.items()}})
            pace = (time.monotonic() - started) / (done - first)
            report(f"{json.dumps(curve[-1])}  {pace:.2f} s per step")
            recent = []
        if done % settings.save_every == 0 or done == settings.steps:
            _save(checkpoint, module, optimiser, done, curve, record)
    module.eval()
    return curve


def _check_same_training(
    checkpoint: Path, there: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
    found, expected = found_and_expected(differences(there, wanted))
    if found:
        raise UserError(
            checkpoint, f"a training with {found}", expected, "choose another -o for this one"
        )


def _save(
    path: Path,
    module: torch.nn.Module,
    optimiser: Any,
    step: int,
    curve: list[dict[str, float]],
    record: str | None,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    torch.save(
        {
            "module": module.state_dict(),
            "optimiser": optimiser.state_dict(),
            "step": step,
            "curve": json.dumps(curve),
            "made_with": record,
        },
        temporary,
    )
    os.replace(temporary, path)
