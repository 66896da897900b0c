"""When rounds take place and how they decide: class attribute, dataset.json, environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_origin, get_type_hints

from clisc_nnunet.errors import UserError
from clisc_nnunet.io.paths import without_folder
from clisc_nnunet.provenance import differences
from clisc_nnunet.settings import Share, updated

VARIABLE_PREFIX = "CLISC_"


@dataclass(frozen=True)
class RoundSettings:
    """What a round between epochs does.

    Every field can be set in dataset.json, `{"clisc": {"trainer": {"keep_ratio": 0.7}}}`, and,
    above that, by a variable such as `CLISC_KEEP_RATIO=0.7` or `CLISC_ROUNDS=0.4,0.7`.
    """

    rounds: tuple[Share, ...] = (0.25,)
    """Shares of the schedule after which a round takes place; none: no filtering at all. After a
    quarter (epoch 250 of 1000) a network has long learnt what the labels have in common, while the
    learning rate (poly: 0.77 of the first) is too high to have learnt each error by heart; on
    phantoms with spoilt labels this was better than half, where less is left to unlearn them."""
    keep_ratio: Share = 0.8
    """Share of the cases that stays in each round (paper)."""
    min_similarity: Share = 0.5
    """Cases below it are rejected whatever the share."""
    measure: Literal["sam", "support"] = "support"
    """Similarity by which cases are ranked. `sam`: Dice of the prediction and SAM's answer to it
    (paper). `support`: how far network and SAM support the label they have learnt from, the mean
    of its Dice with the prediction and with SAM's answer; it finds spoilt labels better."""
    looks: Literal["axial", "all"] = "all"
    """SAM answers plane by plane (paper), or looks as often as it did for the pseudo-labels."""
    relabel: Literal["network", "vote", "none"] = "none"
    """What kept cases learn from: the network's prediction (paper); what two of three say, label,
    network and SAM; or their label as before. On phantoms, labels worth keeping were better than
    predictions, and no worse than votes."""
    readmit: bool = True
    """A later round judges rejected cases anew; otherwise they stay out."""
    restart: bool = False
    """After a round the network starts again from random weights (paper). In the short trainings on
    phantoms the quarter of the schedule that this costs was worth more than what there was to
    unlearn, also where 30 % of the labels were spoilt."""
    mirroring: bool = False
    """Predict with mirroring, as nnU-Net does in the end: eight times slower."""
    sam: str = ""
    """SAM that judges: a name or the path of a checkpoint. Empty: the one that drew the labels."""


PAPER = RoundSettings(
    rounds=(0.5,),
    min_similarity=0.0,
    measure="sam",
    looks="axial",
    relabel="network",
    restart=True,
)
NO_FILTER = RoundSettings(rounds=())


def resolve(
    base: RoundSettings, dataset_json: Mapping[str, Any], environment: Mapping[str, str]
) -> RoundSettings:
    """Settings in force: a class's own, overridden by dataset.json, then by variables.

    Raises
    ------
    UserError
        If a key or a value cannot be used.
    """
    made = dataset_json.get("clisc")
    chosen = made.get("trainer") if isinstance(made, dict) else made
    chosen = {} if chosen is None else chosen
    if not isinstance(chosen, dict):
        raise UserError("dataset.json: clisc: trainer", repr(chosen), "an object", "mend the value")
    settings = updated(base, chosen, "dataset.json: clisc: trainer")
    return updated(settings, _from_environment(environment), "environment")


def started_with(
    stored: Mapping[str, Any], asked: RoundSettings, environment: Mapping[str, str]
) -> tuple[RoundSettings, str]:
    """Settings that a continued training goes on with: those of its checkpoint.

    Parameters
    ----------
    stored : mapping
        What `as_plain` gave for the checkpoint. What it does not name is as now asked for.
    asked : RoundSettings
        What `resolve` says now.
    environment : mapping
        Of SAM a checkpoint knows no folder, so that `CLISC_SAM`, where it is set, counts anew.

    Returns
    -------
    settings : RoundSettings
    in_what : str
        In what they differ from those asked for, or SAM from the checkpoint's; empty for nothing.

    Raises
    ------
    UserError
        If a key or a value of the checkpoint cannot be used.
    """
    old = updated(asked, dict(stored), "checkpoint: clisc: settings")
    # The same file, and where it lies on this machine.
    by_variable = bool(environment.get(f"{VARIABLE_PREFIX}SAM"))
    same_sam = as_plain(asked)["sam"] == as_plain(old)["sam"]
    settings = replace(old, sam=asked.sam) if by_variable or same_sam else old
    parts = [
        f"{one.name} {json.dumps(one.before)} (now asked for: {json.dumps(one.now)})"
        for one in differences(asdict(settings), asdict(asked))
    ]
    if by_variable and not same_sam:
        parts.append(f"but sam {json.dumps(asked.sam)} (before: {json.dumps(old.sam)})")
    return settings, ", ".join(parts)


def round_epochs(settings: RoundSettings, num_epochs: int) -> list[int]:
    """Epochs before which a round takes place, ascending.

    A round has an epoch before it and one after it, however short the schedule; a schedule of one
    epoch has no round.
    """
    if num_epochs < 2:
        return []
    epochs = (round(share * num_epochs) for share in settings.rounds)
    return sorted({min(max(epoch, 1), num_epochs - 1) for epoch in epochs})


def as_plain(settings: RoundSettings) -> dict[str, Any]:
    """All values for files that travel with a model: of SAM's path, no folder."""
    return {**asdict(settings), "sam": without_folder(settings.sam)}


def describe(settings: RoundSettings) -> str:
    """All values in one line, for the log."""
    return json.dumps(asdict(settings))


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    hints = get_type_hints(RoundSettings)
    names = {VARIABLE_PREFIX + field.name.upper(): field.name for field in fields(RoundSettings)}
    return {
        name: _parsed(hints[name], environment[variable], variable)
        for variable, name in names.items()
        if environment.get(variable)
    }


def _parsed(hint: Any, text: str, variable: str) -> Any:
    """Value of a variable in the type of its field; the range is checked by `updated`."""
    if hint is bool:
        known = {"1": True, "true": True, "0": False, "false": False}
        if text.lower() not in known:
            raise UserError(variable, repr(text), "1, true, 0 or false", "mend the variable")
        return known[text.lower()]
    if hint is str or get_origin(hint) is Literal:
        return text
    several = get_origin(hint) is tuple
    if several and text.lower() == "none":
        return []
    try:
        return [float(part) for part in text.split(",")] if several else float(text)
    except ValueError:
        expected = "numbers with commas between, or none" if several else "a number like 0.8"
        raise UserError(variable, repr(text), expected, "mend the variable") from None
