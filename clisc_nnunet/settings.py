"""Settings of every stage: frozen dataclasses, to and from JSON; the presets `default` and `paper`.

Stage numbers are those of the method's table in docs/method.md.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from clisc_nnunet.errors import UserError

# Numbers with their smallest and largest value; every other one is 0 or more.
Count = Annotated[int, (1, sys.maxsize)]
Share = Annotated[float, (0.0, 1.0)]
Percentile = Annotated[float, (0.0, 100.0)]
_ANY_NUMBER = (0, sys.float_info.max)

View = Literal["axial", "coronal", "sagittal"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class SliceSettings:
    """Stage 1: axial 8-bit slices."""

    brain: Literal["extracted", "given"] = "extracted"
    """`extracted`: scans with skull are stripped first; `given`: they are taken as they come."""
    frame: Literal["square", "brain_box"] = "square"
    """`square`: square pixels of `pixel_mm` round the brain; `brain_box`: its box, stretched."""
    pixels: Count = 128
    """Side of a slice in pixels."""
    pixel_mm: float = 1.5
    """Pixel size of the square frame; grows where the brain would not fit."""
    plane_mm: float = 1.5
    """Thinner planes are resampled to this spacing, thicker ones stay; 0 keeps every plane."""
    scaling: Literal["volume", "slice"] = "volume"
    """Range that goes to 8 bit: the volume's, or each slice's own (paper)."""
    low_percentile: Percentile = 1.0
    high_percentile: Percentile = 99.7
    """Percentiles of the brain's voxels that become black and white."""


@dataclass(frozen=True)
class LabelSettings:
    """Stages 2 and 3: CLIP's slice labels and the vote of the neighbours."""

    min_probability: Share = 0.6
    """Below it a slice is `unsure`."""
    vote_reach: int = 5
    """Sure slices asked on either side, in the list of the case's slices."""
    vote_distance: int = 6
    """They must also lie at most this many planes away."""
    vote_quorum: int = 9
    """With at least so many, the majority replaces the label."""
    prompts: str = "paper"
    """Prompt set: a name, or the path of a JSON file {"normal": [...], "tumour": [...]}."""
    precision: Precision = "auto"
    """Of CLIP's image tower; see `SamSettings.precision`."""


@dataclass(frozen=True)
class ClassifierSettings:
    """Stages 4 and 8: the slice classifier."""

    epochs: Count = 6
    learning_rate: float = 1e-3
    batch: Count = 32
    step_epochs: Count = 4
    step_gamma: float = 0.1
    hidden: Count = 256
    dropout: Share = 0.5
    augment: bool = True
    """Flips, small shifts, and changes of contrast."""
    slices_per_epoch: int = 2000
    """At most so many slices an epoch, drawn anew each time; 0 takes all."""


@dataclass(frozen=True)
class CamSettings:
    """Stage 5: LayerCAM."""

    layer: str = "auto"
    """Name of the backbone's layer, or `auto`: chosen by agreement with SAM."""
    candidates: tuple[str, ...] = ("layer1", "layer2", "layer3")


@dataclass(frozen=True)
class RoiSettings:
    """Stage 6: from CAM to region of interest."""

    threshold: Share = 0.0
    """CAM above it is region; 0: chosen without labels, by agreement with SAM."""
    candidates: tuple[Share, ...] = (0.1, 0.2, 0.3, 0.4, 0.5)
    opening: bool = True
    """3D opening, 3x3x3."""
    component_ratio: Share = 1.0 / 3.0
    """Components of at least this share of the largest stay."""
    fill_gaps: bool = True
    """Planes without a region between two that have one get the shape in between."""


@dataclass(frozen=True)
class MaskingSettings:
    """Stage 7: adaptive masking (AMDA)."""

    mode: Literal["text", "brightness", "off"] = "text"
    """As the paper's text says, as its published code works, or none."""
    cam_fraction: Share = 0.8
    image_fraction: Share = 0.8
    keep_plain: bool = False
    """Train the enhanced classifier on plain slices too, not on masked ones alone."""


@dataclass(frozen=True)
class PromptSettings:
    """Stage 9: boxes and points for SAM."""

    margin: int = 3
    """Pixels round the region's box."""
    box: bool = True
    """SAM sees the box; without it, the points alone."""
    positive_points: int = 5
    negative_corners: bool = True
    bright_fraction: Share = 0.6
    """Positive points lie where image times region reaches this fraction of its range."""


@dataclass(frozen=True)
class SamSettings:
    """Stage 10: SAM."""

    equalise: bool = False
    """Histogram equalisation of every slice (paper)."""
    batch: Count = 16
    precision: Precision = "auto"
    """Of the image encoder. `auto`: bf16 on GPUs that are quick at it, fp32 elsewhere."""
    views: tuple[View, ...] = ("axial", "coronal", "sagittal")
    """The views after the first are prompted by the axial masks; the mean logit decides. Stacks
    of planes thicker than 1.5 pixels are seen axially alone."""
    close_up: float = 1.5
    """Side of a last, enlarged look at each view, over the longer side of the mask; 0: none."""
    min_predicted_iou: float = 0.0
    """Masks that SAM itself rates lower are dropped."""
    second_opinion: Share = 0.7
    """Cases of whose masks SAM itself thinks less, on average, are drawn once more from the whole
    brain, and the answer that it rates clearly higher counts; 0: none."""

    def axial_only(self) -> SamSettings:
        """The same, but each axial plane is looked at once, as in the paper."""
        return replace(self, views=("axial",), close_up=0.0, second_opinion=0.0)


@dataclass(frozen=True)
class PseudoLabelSettings:
    """Stage 11: from masks to a pseudo-label volume."""

    min_case_iou: Share = 0.5
    """Cases of whose masks SAM itself thinks less, on average, get no label."""
    component_ratio: Share = 0.0
    """3D components smaller than this share of the largest are dropped; 0 keeps all."""
    fill_holes: bool = True
    """Fill what a mask encloses in its axial plane, such as the dark core of a bright rim."""


@dataclass(frozen=True)
class Settings:
    """Everything that decides a pseudo-label, beside the scans and the weights."""

    preset: str = "default"
    seed: int = 0
    slices: SliceSettings = field(default_factory=SliceSettings)
    labels: LabelSettings = field(default_factory=LabelSettings)
    classifier: ClassifierSettings = field(default_factory=ClassifierSettings)
    cam: CamSettings = field(default_factory=CamSettings)
    roi: RoiSettings = field(default_factory=RoiSettings)
    masking: MaskingSettings = field(default_factory=MaskingSettings)
    prompts: PromptSettings = field(default_factory=PromptSettings)
    sam: SamSettings = field(default_factory=SamSettings)
    pseudo_label: PseudoLabelSettings = field(default_factory=PseudoLabelSettings)

    def to_json(self) -> str:
        """Readable JSON; `from_json` takes it back."""
        return json.dumps(asdict(self), indent=2)


PRESETS: dict[str, Settings] = {
    "default": Settings(),
    "paper": Settings(
        preset="paper",
        slices=SliceSettings(
            brain="given",
            frame="brain_box",
            pixels=224,
            plane_mm=0.0,
            scaling="slice",
            low_percentile=0.0,
            high_percentile=99.9,
        ),
        classifier=ClassifierSettings(
            epochs=400,
            learning_rate=1e-4,
            batch=8,
            step_epochs=7,
            augment=False,
            slices_per_epoch=0,
        ),
        # The published threshold was chosen with the true masks; ours is chosen without.
        cam=CamSettings(layer="layer3"),
        roi=RoiSettings(fill_gaps=False),
        prompts=PromptSettings(margin=10),
        sam=SamSettings(equalise=True, views=("axial",), close_up=0.0, second_opinion=0.0),
        pseudo_label=PseudoLabelSettings(min_case_iou=0.0, fill_holes=False),
    ),
}


def from_json(text: str, where: str = "settings") -> Settings:
    """Settings from JSON; keys that are left out keep the value of the file's preset.

    Raises
    ------
    UserError
        If the text is not JSON, or a key or a value is not one of ours.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            where, f"no valid JSON ({error})", "a settings file", "mend or remove it"
        ) from None
    if not isinstance(values, dict):
        raise UserError(where, f"a {type(values).__name__}", "a JSON object", "mend the file")
    return updated(preset(values.get("preset", "default")), values, where)


def preset(name: str) -> Settings:
    """Preset by name; `UserError` names the known ones."""
    if not isinstance(name, str) or name not in PRESETS:
        raise UserError("preset", repr(name), f"one of {', '.join(PRESETS)}", "name one of these")
    return PRESETS[name]


def read_settings(path: Path) -> Settings:
    """Settings from a JSON file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(path, str(error), "a settings file", "check the path") from None
    return from_json(text, str(path))


def updated(settings: Any, values: dict[str, Any], where: str = "settings") -> Any:
    """Copy of a (nested) settings dataclass with some values replaced, types checked."""
    hints = get_type_hints(type(settings), include_extras=True)
    known = {f.name for f in fields(settings)}
    changes: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise UserError(
                where, f"unknown key {key!r}", f"one of {', '.join(sorted(known))}", "mend the key"
            )
        old = getattr(settings, key)
        if is_dataclass(old):
            if not isinstance(value, dict):
                raise UserError(where, f"{key} = {value!r}", "an object", "mend the value")
            changes[key] = updated(old, value, f"{where}: {key}")
        else:
            changes[key] = _checked(hints[key], key, value, where)
    return replace(settings, **changes)


def _checked(annotation: Any, key: str, value: Any, where: str) -> Any:
    """The value in the type that the field declares, or a `UserError`."""
    if not _fits(annotation, value):
        raise UserError(where, f"{key} = {value!r}", _expected(annotation), "mend the value")
    return _converted(annotation, value)


def _fits(annotation: Any, value: Any) -> bool:
    kind, (low, high) = _bounds(annotation)
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is tuple:
        element = get_args(kind)[0]
        return isinstance(value, (list, tuple)) and all(_fits(element, v) for v in value)
    if kind in (int, float):
        # The exact type, for a bool is an int; NaN lies between no bounds.
        return type(value) in (int, kind) and low <= value <= high
    return isinstance(value, kind)


def _expected(annotation: Any) -> str:
    kind, (low, high) = _bounds(annotation)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(get_args(kind))
    if get_origin(kind) is tuple:
        return f"a list, each item {_expected(get_args(kind)[0])}"
    if kind in (int, float):
        limit = f"{low:g} or more" if high > 100 else f"{low:g} to {high:g}"
        return f"{'a number' if kind is float else 'a value of type int'}, {limit}"
    return f"a value of type {kind.__name__}"


def _converted(annotation: Any, value: Any) -> Any:
    """Lists as tuples and whole numbers as floats where the field has them."""
    kind, _ = _bounds(annotation)
    if get_origin(kind) is tuple:
        return tuple(_converted(get_args(kind)[0], v) for v in value)
    return float(value) if kind is float else value


def _bounds(annotation: Any) -> tuple[Any, tuple[float, float]]:
    """Type of a field without its bounds, and these."""
    return (
        get_args(annotation) if get_origin(annotation) is Annotated else (annotation, _ANY_NUMBER)
    )
