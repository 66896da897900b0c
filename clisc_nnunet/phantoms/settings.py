"""Settings of phantoms. Ranges are sampled, and shares applied, once per phantom."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

Range = tuple[float, float]


@dataclass(frozen=True)
class HeadSettings:
    """Shape of the head."""

    rotation_degrees: float = 10.0
    scale: Range = (0.92, 1.06)
    axis_scale: Range = (0.95, 1.05)
    warp_mm: Range = (1.5, 4.5)
    wide_ventricles: float = 0.0
    widen_mm: Range = (0.5, 5.0)
    """Share of heads with ventricles wider than the anatomy's, as in old age; widening in mm."""
    scalp: float = 0.05
    """Share of phantoms with skull and scalp, if the anatomy has them."""


@dataclass(frozen=True)
class ContrastSettings:
    """Intensities relative to white matter."""

    grey: Range = (1.0, 1.38)
    ventricle: Range = (0.08, 0.45)
    sulci_above_ventricle: Range = (0.05, 0.35)
    periventricular_rim: float = 0.8
    """Share of phantoms with a bright rim around the ventricles."""
    caps: float = 0.0
    caps_mm: Range = (4.0, 16.0)
    caps_brightness: Range = (0.25, 1.1)
    """Share with bright caps around the horns of the ventricles; extent in mm and brightness above
    white matter, up to that of oedema."""
    white_matter_lesions: float = 0.5
    """Share with small-vessel lesions, from a few spots to confluent ones."""
    bright_edge: float = 0.7
    """Share with bright remnants of skull, dura or fat at the edge of the brain."""
    bright_cortex: float = 0.4


@dataclass(frozen=True)
class LesionSettings:
    """Lesions that are no tumours, as shares of phantoms."""

    confluent: float = 0.0
    confluent_mm: Range = (2.0, 12.0)
    confluent_brightness: Range = (0.2, 0.9)
    """Hyperintensities all along the ventricles; their width in mm, brightness above white
    matter."""
    plaques: float = 0.0
    plaque_count: tuple[int, int] = (4, 40)
    plaque_radius_mm: Range = (1.5, 7.0)
    plaque_brightness: Range = (0.35, 1.1)
    """As in multiple sclerosis."""
    infarcts: float = 0.0
    infarct_radius_mm: Range = (4.0, 13.0)
    """Bright wedges at the cortex, or fluid with a bright border; one to three."""
    cavity: float = 0.0
    cavity_radius_mm: Range = (7.0, 20.0)
    """Cavity at the surface, as after an operation."""


@dataclass(frozen=True)
class TumourSettings:
    """Tumours; the label is the whole tumour."""

    free: float = 0.15
    """Share of phantoms without a tumour."""
    radius_mm: Range = (20.0, 44.0)
    small: float = 0.12
    """Share of small tumours."""
    small_radius_mm: Range = (12.0, 20.0)
    """Radius of small tumours."""
    low: float = 0.04
    """Share in cerebellum and brainstem, where adult gliomas are rare."""
    volume_ml: Range = (6.0, 260.0)
    """Other tumours are rejected: smaller ones are useless for training, larger ones rare."""
    brightness: Range = (1.25, 1.95)
    """Brightness as a multiple of the brightest healthy tissue."""
    faint: float = 0.1
    faint_brightness: Range = (1.12, 1.3)
    """Share of tumours hardly brighter than brain, and their brightness."""
    fingers: float = 0.4
    """Share with oedema that extends far along white matter and spares the cortex."""
    satellites: float = 0.15
    """Share with a second, smaller tumour."""
    core: float = 0.3
    """Share with a distinct core: grey necrosis, dark cavity or solid part."""
    cyst: float = 0.15
    """Share of thin-walled cysts, filled with fluid and nodules."""
    mottled: float = 0.3
    fading: float = 0.35
    """Share whose brightness decreases towards the outline."""
    dull_half: float = 0.25
    """Share with an infiltrating side that is hardly brighter than brain."""
    halo: float = 0.6
    """Share surrounded by oedema that is hardly brighter than brain."""
    halo_reach: Range = (0.08, 0.4)
    """Extent of this oedema as a share of the tumour radius."""
    halo_brightness: Range = (0.08, 0.35)
    """Its brightness above white matter."""
    visible_share: float = 0.2
    """Smallest share of tumour in voxels of the label."""
    smooth_outline: Range = (0.5, 1.5)
    """Smoothing of the label's outline in voxels, as experts draw smooth outlines."""
    mass_effect: Range = (0.0, 0.35)


@dataclass(frozen=True)
class ScannerSettings:
    """Scanner effects."""

    bias: Range = (0.02, 0.14)
    noise: Range = (0.005, 0.07)
    blur_voxels: Range = (0.0, 0.8)
    thick_slices: float = 0.15
    """Share with planes averaged over 3 to 6 mm."""
    cut_field_of_view: float = 0.1
    """Share with a part of the head outside the field of view, which may be oblique."""
    gamma: float = 0.15


@dataclass(frozen=True)
class PhantomSettings:
    """All settings of phantoms."""

    head: HeadSettings = HeadSettings()
    contrast: ContrastSettings = ContrastSettings()
    lesions: LesionSettings = LesionSettings()
    tumour: TumourSettings = TumourSettings()
    scanner: ScannerSettings = ScannerSettings()


def as_record(settings: PhantomSettings) -> dict[str, Any]:
    """Settings as a folder of phantoms records them.

    Lesions are left out where there are none, as in the records of versions that knew none: the
    phantoms are the same.
    """
    record = asdict(settings)
    if settings.lesions == LesionSettings():
        del record["lesions"]
    return record


HEADS = PhantomSettings(
    head=HeadSettings(scalp=0.8), scanner=ScannerSettings(cut_field_of_view=0.5)
)
"""Mostly heads with skull and scalp, for training the brain extractor."""

UNSEEN_KINDS = PhantomSettings(
    contrast=ContrastSettings(grey=(1.38, 1.6), white_matter_lesions=1.0),
    tumour=TumourSettings(brightness=(1.12, 1.5), fingers=1.0, satellites=0.5),
    scanner=ScannerSettings(thick_slices=1.0, gamma=0.3),
)
"""Phantoms outside the training distribution of the bundled models, to check generalisation."""

AGED = PhantomSettings(head=HeadSettings(wide_ventricles=0.5), contrast=ContrastSettings(caps=0.4))
"""Age-related changes that the bundled models were not trained to distinguish from tumours."""

SCLEROSIS = PhantomSettings(lesions=LesionSettings(plaques=1.0))
"""Many small plaques in white matter, as in multiple sclerosis."""

VASCULAR = PhantomSettings(
    head=HeadSettings(wide_ventricles=0.4),
    contrast=ContrastSettings(caps=0.3),
    lesions=LesionSettings(confluent=0.6, infarcts=0.5, cavity=0.15),
)
"""Confluent hyperintensities of small vessels, infarcts, and cavities after an operation."""

KINDS = {
    "usual": PhantomSettings(),
    "heads": HEADS,
    "unseen": UNSEEN_KINDS,
    "aged": AGED,
    "sclerosis": SCLEROSIS,
    "vascular": VASCULAR,
}
