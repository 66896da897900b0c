"""Settings of all stages as frozen dataclasses, their JSON form, and the presets.

Stage numbers are those of the table in docs/explanation/method.md.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from clisc_nnunet.errors import UserError

# Numbers with their smallest and largest value; all other numbers are 0 or more.
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
    """`extracted`: scans with skull are skull-stripped; `given`: scans are used as they are."""
    frame: Literal["square", "brain_box"] = "square"
    """`square`: square pixels of `pixel_mm` around the brain; `brain_box`: its box, stretched."""
    pixels: Count = 128
    """Side of a slice in pixels."""
    pixel_mm: float = 1.5
    """Pixel size of the square frame; larger if the brain would not fit."""
    plane_mm: float = 1.5
    """Thinner planes are resampled to this spacing, thicker ones are kept; 0 keeps all planes."""
    scaling: Literal["volume", "slice"] = "volume"
    """Intensity range that is scaled to 8 bit: of the volume, or of each slice (paper)."""
    low_percentile: Percentile = 1.0
    high_percentile: Percentile = 99.7
    """Intensity percentiles of brain voxels that become black and white."""


@dataclass(frozen=True)
class LabelSettings:
    """Stages 2 and 3: CLIP's slice labels and the majority vote of neighbouring slices."""

    min_probability: Share = 0.6
    """Slices with a lower probability are `unsure`."""
    vote_reach: int = 5
    """Number of sure slices that vote, on either side."""
    vote_distance: int = 6
    """Largest distance of a voting slice, in planes."""
    vote_quorum: int = 9
    """Smallest number of votes with which the majority replaces the label."""
    prompts: str = "paper"
    """Text prompts: `paper`, or a JSON file {"normal": [...], "tumour": [...]}."""
    precision: Precision = "auto"
    """Precision of CLIP's image tower; see `SamSettings.precision`."""


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
    """Random flips, small shifts and contrast changes."""
    slices_per_epoch: int = 2000
    """Largest number of slices per epoch, sampled for each epoch; 0 uses all."""


@dataclass(frozen=True)
class CamSettings:
    """Stage 5: LayerCAM."""

    layer: str = "auto"
    """Layer of the backbone, or `auto`: selected by agreement with SAM."""
    candidates: tuple[str, ...] = ("layer1", "layer2", "layer3")


@dataclass(frozen=True)
class RoiSettings:
    """Stage 6: from CAM to region of interest."""

    threshold: Share = 0.0
    """CAM threshold of the region; 0: selected without labels, by agreement with SAM."""
    candidates: tuple[Share, ...] = (0.1, 0.2, 0.3, 0.4, 0.5)
    opening: bool = True
    """3D opening, 3x3x3."""
    component_ratio: Share = 1.0 / 3.0
    """Components of at least this share of the largest are kept."""
    fill_gaps: bool = True
    """Interpolate the region in planes between two planes that have one."""


@dataclass(frozen=True)
class MaskingSettings:
    """Stage 7: adaptive masking (AMDA)."""

    mode: Literal["text", "brightness", "off"] = "text"
    """As in the paper's text, as in its published code, or none."""
    cam_fraction: Share = 0.8
    image_fraction: Share = 0.8
    keep_plain: bool = False
    """Train the enhanced classifier on unmasked slices too, not only on masked ones."""


@dataclass(frozen=True)
class PromptSettings:
    """Stage 9: boxes and points for SAM."""

    margin: int = 3
    """Pixels added on each side of the region's bounding box."""
    box: bool = True
    """Prompt SAM with the box in addition to the points."""
    positive_points: int = 5
    negative_corners: bool = True
    bright_fraction: Share = 0.6
    """Positive points are placed where image times region reaches this fraction of its range."""


@dataclass(frozen=True)
class SamSettings:
    """Stage 10: SAM."""

    equalise: bool = False
    """Histogram equalisation of each slice (paper)."""
    batch: Count = 16
    precision: Precision = "auto"
    """Precision of the image encoder. `auto`: bf16 on GPUs from Ampere on, fp32 elsewhere."""
    views: tuple[View, ...] = ("axial", "coronal", "sagittal")
    """Views after the first are prompted by the axial masks, and logits are averaged. Stacks with
    planes thicker than 1.5 pixels are segmented in the axial view only."""
    close_up: float = 1.5
    """Side of the close-up crop of each view relative to the longer side of the mask; 0: none."""
    min_predicted_iou: float = 0.0
    """Masks with a lower SAM-predicted IoU are dropped."""
    second_opinion: Share = 0.7
    """Cases whose mean SAM-predicted IoU is below this value, but not below
    `PseudoLabelSettings.min_case_iou`, are segmented again, prompted by the whole brain; the new
    masks are used if their predicted IoU is clearly higher. 0: never."""

    def axial_only(self) -> SamSettings:
        """The same settings with a single axial pass, as in the paper."""
        return replace(self, views=("axial",), close_up=0.0, second_opinion=0.0)


@dataclass(frozen=True)
class PseudoLabelSettings:
    """Stage 11: from masks to a pseudo-label volume."""

    min_case_iou: Share = 0.5
    """Cases with a lower mean SAM-predicted IoU get no label."""
    component_ratio: Share = 0.0
    """3D components smaller than this share of the largest are dropped; 0 keeps all."""
    fill_holes: bool = True
    """Fill holes of the mask in each axial plane, such as the dark core of a bright rim."""


@dataclass(frozen=True)
class Settings:
    """All settings that determine a pseudo-label, apart from the scans and the weights."""

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
        """Indented JSON, readable by `from_json`."""
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
        # The published threshold was selected with reference masks; ours is selected without.
        cam=CamSettings(layer="layer3"),
        roi=RoiSettings(fill_gaps=False),
        prompts=PromptSettings(margin=10),
        sam=SamSettings(equalise=True).axial_only(),
        pseudo_label=PseudoLabelSettings(min_case_iou=0.0, fill_holes=False),
    ),
}


def from_json(text: str, where: str = "settings") -> Settings:
    """Settings from JSON; missing keys have the value of the preset that the JSON names.

    Raises
    ------
    UserError
        If the text is not JSON, or a key or value is invalid.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            where, f"invalid JSON ({error})", "a settings file", "fix or remove it"
        ) from None
    if not isinstance(values, dict):
        raise UserError(where, f"a {type(values).__name__}", "a JSON object", "fix the file")
    return updated(preset(values.get("preset", "default")), values, where)


def preset(name: str) -> Settings:
    """Preset by name.

    Raises
    ------
    UserError
        If there is none of this name.
    """
    if not isinstance(name, str) or name not in PRESETS:
        raise UserError("preset", repr(name), f"one of {', '.join(PRESETS)}", "choose one of these")
    return PRESETS[name]


def read_settings(path: Path) -> Settings:
    """Settings from a JSON file.

    Raises
    ------
    UserError
        If the file cannot be read, or is invalid.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(path, str(error), "a settings file", "check the path") from None
    return from_json(text, str(path))


def updated(settings: Any, values: dict[str, Any], where: str = "settings") -> Any:
    """Copy of a (nested) settings dataclass with some values replaced.

    Parameters
    ----------
    values : dict
        New values by field name, nested like the dataclass, as in JSON.
    where : str
        Origin of the values, for error messages.

    Raises
    ------
    UserError
        If a key is unknown, or a value has the wrong type or is out of range.
    """
    hints = get_type_hints(type(settings), include_extras=True)
    known = {f.name for f in fields(settings)}
    changes: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise UserError(
                where, f"unknown key {key!r}", f"one of {', '.join(sorted(known))}", "fix the key"
            )
        old = getattr(settings, key)
        if is_dataclass(old):
            if not isinstance(value, dict):
                raise UserError(where, f"{key} = {value!r}", "an object", "fix the value")
            changes[key] = updated(old, value, f"{where}: {key}")
        else:
            changes[key] = _checked(hints[key], key, value, where)
    return replace(settings, **changes)


def _checked(annotation: Any, key: str, value: Any, where: str) -> Any:
    """The value converted to the declared type of its field, or a `UserError`."""
    if not _fits(annotation, value):
        raise UserError(where, f"{key} = {value!r}", _expected(annotation), "fix the value")
    return _converted(annotation, value)


def _fits(annotation: Any, value: Any) -> bool:
    kind, (low, high) = _bounds(annotation)
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is tuple:
        element = get_args(kind)[0]
        return isinstance(value, (list, tuple)) and all(_fits(element, v) for v in value)
    if kind in (int, float):
        # Exact types, as bool is a subclass of int; NaN is within no bounds.
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
    """Convert lists to tuples and integers to floats where the field requires it."""
    kind, _ = _bounds(annotation)
    if get_origin(kind) is tuple:
        return tuple(_converted(get_args(kind)[0], v) for v in value)
    return float(value) if kind is float else value


def _bounds(annotation: Any) -> tuple[Any, tuple[float, float]]:
    """Type of a field without its bounds, and its bounds."""
    return (
        get_args(annotation) if get_origin(annotation) is Annotated else (annotation, _ANY_NUMBER)
    )
