"""The loop that trains a bundled model: a schedule by steps, a log, and checkpoints."""

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
    """Length and pace of a training."""

    steps: int
    learning_rate: float
    warm_up: int = 100
    weight_decay: float = 0.02
    clip_gradient: float = 1.0
    log_every: int = 50
    save_every: int = 200


def learning_rate(step: int, settings: LoopSettings) -> float:
    """Linear warm-up, then a cosine down to a hundredth."""
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
    """Train until `settings.steps`, going on from `checkpoint` if it is there.

    Parameters
    ----------
    module : Module
        Its weights are trained in place.
    step : callable
        Takes the number of the step, which must seed all of its randomness, so that a continued
        training sees what an unbroken one would; returns the loss and figures for the log.
    settings : LoopSettings
    checkpoint : Path
        Written whole or not at all, every `save_every` steps.
    report : callable
        Takes a line of the log.
    made_with : mapping, optional
        Whatever decides the training, as JSON can hold it; kept in the checkpoint.

    Returns
    -------
    list of dict
        The curve: mean figures of every `log_every` steps.

    Raises
    ------
    UserError
        If the checkpoint is of a training that was made with something else.
    """
    record = None if made_with is None else json.dumps(made_with)
    optimiser = torch.optim.AdamW(
        module.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    first, curve = 0, []
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        # A checkpoint of before there were records goes on, and stays without: nobody knows what
        # its first steps were made with.
        if made_with is not None and saved.get("made_with") is not None:
            _refuse_other(checkpoint, json.loads(saved["made_with"]), made_with)
        record = saved.get("made_with")
        module.load_state_dict(saved["module"])
        optimiser.load_state_dict(saved["optimiser"])
        first, curve = saved["step"], json.loads(saved["curve"])
        if first >= settings.steps:
            report(f"finished already: step {first} of {settings.steps} in {checkpoint}")
        else:
            report(f"going on from step {first} of {checkpoint}")
    module.train()
    recent: list[dict[str, float]] = []
    started = time.monotonic()
    for number in range(first, settings.steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(number, settings)
        loss, figures = step(number)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), settings.clip_gradient)
        optimiser.step()
        recent.append({"loss": float(loss.detach()), **figures})
        done = number + 1
        if done % settings.log_every == 0 or done == settings.steps:
            means = {key: sum(r[key] for r in recent) / len(recent) for key in recent[0]}
            curve.append({"step": done, **{k: round(v, 4) for k, v in means.items()}})
            pace = (time.monotonic() - started) / (done - first)
            report(f"{json.dumps(curve[-1])}  {pace:.2f} s a step")
            recent = []
        if done % settings.save_every == 0 or done == settings.steps:
            _save(checkpoint, module, optimiser, done, curve, record)
    module.eval()
    return curve


def _refuse_other(checkpoint: Path, there: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
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
