"""Settings of rounds, from class attribute, dataset.json and environment variables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any, Literal, get_origin, get_type_hints

from clisc_nnunet.errors import UserError
from clisc_nnunet.io.paths import without_folder
from clisc_nnunet.provenance import differences
from clisc_nnunet.settings import Share, updated

VARIABLE_PREFIX = "CLISC_"


@dataclass(frozen=True)
class RoundSettings:
    """Settings of the rounds before or between epochs.

    Every field can be set in dataset.json, `{"clisc": {"trainer": {"keep_ratio": 0.7}}}`, or by an
    environment variable, which takes precedence: `CLISC_KEEP_RATIO=0.7`, `CLISC_ROUNDS=0.4,0.7`.
    """

    rounds: tuple[Share, ...] = (0.0,)
    """Fractions of the schedule after which a round takes place; none: no filtering. The phantom
    network can judge before the first epoch (0), the network in training cannot: its rounds take
    place after one epoch at the earliest."""
    judge: Literal["phantoms", "network"] = "phantoms"
    """Whose predictions a round compares with labels and SAM. `phantoms`: the bundled phantom
    network, which has seen no label and so repeats none of their errors. `network`: the network
    in training (paper)."""
    keep_ratio: Share = 1.0
    """Fraction of the cases that may be kept in each round (paper: 0.8)."""
    min_similarity: Share = 0.6
    """Cases below it are rejected regardless of `keep_ratio`."""
    measure: Literal["sam", "label", "support"] = "label"
    """Similarity by which cases are ranked. `sam`: Dice of prediction and SAM's segmentation
    (paper). `label`: Dice of prediction and current label. `support`: mean of `label` and of the
    Dice of SAM's segmentation and current label."""
    components: Literal["largest", "all"] = "all"
    """Parts of a prediction that count: the largest (paper), or all but specks, so that a second
    focus is no disagreement."""
    looks: Literal["axial", "all"] = "all"
    """SAM passes: `axial`, each axial plane once (paper), or `all`, as for the pseudo-labels."""
    relabel: Literal["soft", "network", "vote", "none"] = "soft"
    """Label of kept cases after the round: the mean probability of label, prediction and SAM, from
    which training samples masks (`soft`); the prediction (paper); the majority vote; or the
    previous label."""
    readmit: bool = True
    """Whether later rounds may readmit rejected cases."""
    restart: bool = False
    """Return to the initial weights after a round (paper: random ones). In short trainings on
    phantoms, losing a quarter of the schedule cost more than unlearning label errors, even with
    30 % corrupted labels."""
    mirroring: bool = False
    """Predict with mirroring, as nnU-Net does for inference; eight times slower."""
    sam: str = ""
    """Name or checkpoint path of SAM. Empty: the SAM that made the pseudo-labels."""
    start: Literal["phantoms", "random"] = "phantoms"
    """Initial weights: those of the bundled phantom network where the plan has its architecture,
    or random ones (paper)."""
    fine_tuning_rate: Share = 1e-3
    """Initial learning rate of a training that starts from trained weights; nnU-Net's own rate is
    0.01."""
    phantom_share: Annotated[float, (0.0, 0.9)] = 0.25
    """Share of the phantoms that the converter added (`--add-phantoms`) among the training cases in
    the batches, however many there are; 0: none. A quarter leaves most of a batch to the scans that
    the network is for."""


PAPER = RoundSettings(
    rounds=(0.5,),
    judge="network",
    keep_ratio=0.8,
    min_similarity=0.0,
    measure="sam",
    components="largest",
    looks="axial",
    relabel="network",
    restart=True,
    start="random",
    phantom_share=0.0,
)
NO_FILTER = RoundSettings(rounds=())


def resolve(
    base: RoundSettings, dataset_json: Mapping[str, Any], environment: Mapping[str, str]
) -> RoundSettings:
    """Settings of a class, overridden by dataset.json, then by environment variables.

    Raises
    ------
    UserError
        If a key or a value is invalid.
    """
    made = dataset_json.get("clisc")
    chosen = made.get("trainer") if isinstance(made, dict) else made
    chosen = {} if chosen is None else chosen
    if not isinstance(chosen, dict):
        raise UserError("dataset.json: clisc: trainer", repr(chosen), "an object", "fix the value")
    settings = updated(base, chosen, "dataset.json: clisc: trainer")
    return updated(settings, _from_environment(environment), "environment")


def settings_to_resume(
    stored: Mapping[str, Any], requested: RoundSettings, environment: Mapping[str, str]
) -> tuple[RoundSettings, str]:
    """Settings of a resumed training: those stored in its checkpoint.

    Parameters
    ----------
    stored : mapping
        Settings in the checkpoint, from `as_plain`. Missing ones are taken from `requested`.
    requested : RoundSettings
        Current settings, from `resolve`.
    environment : mapping
        `CLISC_SAM`, if set, overrides the checkpoint, which does not store the folder of SAM.

    Returns
    -------
    settings : RoundSettings
    in_what : str
        Differences to the requested settings, and of SAM to the checkpoint's; empty if none.

    Raises
    ------
    UserError
        If a key or a value in the checkpoint is invalid.
    """
    # Checkpoints of earlier versions lack what was not a choice then.
    stored = {"start": "random", "judge": "network", "components": "largest", **stored}
    old = updated(requested, dict(stored), "checkpoint: clisc: settings")
    # If it is the same file, use its path on this machine.
    by_variable = bool(environment.get(f"{VARIABLE_PREFIX}SAM"))
    same_sam = as_plain(requested)["sam"] == as_plain(old)["sam"]
    settings = replace(old, sam=requested.sam) if by_variable or same_sam else old
    parts = [
        f"{one.name} {json.dumps(one.before)} (now requested: {json.dumps(one.now)})"
        for one in differences(asdict(settings), asdict(requested))
    ]
    if by_variable and not same_sam:
        parts.append(f"but sam {json.dumps(requested.sam)} (before: {json.dumps(old.sam)})")
    return settings, ", ".join(parts)


def round_epochs(settings: RoundSettings, num_epochs: int) -> list[int]:
    """Epochs before which a round takes place, in ascending order.

    There is at least one epoch after a round, and one before it if the network in training is the
    judge; a schedule of one epoch has no such round.
    """
    first = 1 if settings.judge == "network" else 0
    if num_epochs <= first:
        return []
    epochs = (round(share * num_epochs) for share in settings.rounds)
    return sorted({min(max(epoch, first), num_epochs - 1) for epoch in epochs})


def as_plain(settings: RoundSettings) -> dict[str, Any]:
    """Settings as plain types, to be stored with a model; the path of SAM without its folder."""
    return {**asdict(settings), "sam": without_folder(settings.sam)}


def describe(settings: RoundSettings) -> str:
    """All settings in one line, for the log."""
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
    """Convert a variable to the type of its field; `updated` checks the range."""
    if hint is bool:
        known = {"1": True, "true": True, "0": False, "false": False}
        if text.lower() not in known:
            raise UserError(variable, repr(text), "1, true, 0 or false", "fix the variable")
        return known[text.lower()]
    if hint is str or get_origin(hint) is Literal:
        return text
    several = get_origin(hint) is tuple
    if several and text.lower() == "none":
        return []
    try:
        return [float(part) for part in text.split(",")] if several else float(text)
    except ValueError:
        expected = "comma-separated numbers, or none" if several else "a number like 0.8"
        raise UserError(variable, repr(text), expected, "fix the variable") from None
