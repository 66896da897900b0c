"""What varies between phantoms: frozen settings, one draw per phantom."""

from __future__ import annotations

from dataclasses import dataclass

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
    """Share of heads whose ventricles are wider than the anatomy's, as age makes them; how much."""
    scalp: float = 0.05
    """Share of phantoms that keep skull and scalp, where the anatomy has them."""


@dataclass(frozen=True)
class ContrastSettings:
    """Intensities, white matter being 1."""

    grey: Range = (1.0, 1.38)
    ventricle: Range = (0.08, 0.45)
    sulci_above_ventricle: Range = (0.05, 0.35)
    periventricular_rim: float = 0.8
    """Share of phantoms with a bright rim round the ventricles."""
    caps: float = 0.0
    caps_mm: Range = (4.0, 16.0)
    caps_brightness: Range = (0.25, 1.1)
    """Share with bright caps round the ventricles' horns, how far these reach, and how much
    brighter than white matter they are: up to as bright as oedema."""
    white_matter_lesions: float = 0.5
    """Share with lesions of small vessels, from a few spots to confluent ones."""
    bright_edge: float = 0.7
    """Share with bright remains of skull, dura or fat at the brain's edge."""
    bright_cortex: float = 0.4


@dataclass(frozen=True)
class TumourSettings:
    """Tumours; the label is the whole tumour."""

    free: float = 0.15
    """Share of phantoms without one."""
    radius_mm: Range = (20.0, 44.0)
    small: float = 0.12
    """Share of small ones, and their radius."""
    small_radius_mm: Range = (12.0, 20.0)
    low: float = 0.04
    """Share in cerebellum and brainstem, where gliomas of adults are rare."""
    volume_ml: Range = (6.0, 260.0)
    """Others are drawn again: smaller ones teach a classifier nothing, larger ones are rare."""
    brightness: Range = (1.25, 1.95)
    """Of the tumour, as a multiple of the brightest healthy tissue."""
    faint: float = 0.1
    faint_brightness: Range = (1.12, 1.3)
    """Share that is hardly brighter than brain, and how bright it is."""
    fingers: float = 0.4
    """Share whose oedema reaches far along white matter and spares the cortex."""
    satellites: float = 0.15
    """Share with a second focus, smaller than the first."""
    core: float = 0.3
    """Share with a core of its own: grey necrosis, dark cavity, solid part."""
    cyst: float = 0.15
    """Share of thin-walled ones, filled with fluid and nodules."""
    mottled: float = 0.3
    fading: float = 0.35
    """Share whose brightness falls towards the outline."""
    dull_half: float = 0.25
    """Share of which one side infiltrates and is hardly brighter than brain."""
    halo: float = 0.6
    """Share round which oedema is hardly brighter than brain."""
    halo_reach: Range = (0.08, 0.4)
    """As a share of the tumour's radius."""
    halo_brightness: Range = (0.08, 0.35)
    """Above white matter, which is 1."""
    visible_share: float = 0.2
    """Voxels of which so much is tumour belong to the label."""
    smooth_outline: Range = (0.5, 1.5)
    """The label's outline is smoothed by so many voxels: experts draw no staircases."""
    mass_effect: Range = (0.0, 0.35)


@dataclass(frozen=True)
class ScannerSettings:
    """What the scanner adds."""

    bias: Range = (0.02, 0.14)
    noise: Range = (0.005, 0.07)
    blur_voxels: Range = (0.0, 0.8)
    thick_slices: float = 0.15
    """Share whose planes are averaged over 3 to 6 mm."""
    cut_field_of_view: float = 0.1
    """Share with a part of the head beyond the field of view, which may be tilted."""
    gamma: float = 0.15


@dataclass(frozen=True)
class PhantomSettings:
    """Everything that may vary."""

    head: HeadSettings = HeadSettings()
    contrast: ContrastSettings = ContrastSettings()
    tumour: TumourSettings = TumourSettings()
    scanner: ScannerSettings = ScannerSettings()


HEADS = PhantomSettings(
    head=HeadSettings(scalp=0.8), scanner=ScannerSettings(cut_field_of_view=0.5)
)
"""Mostly heads that were not stripped: what the brain extractor is trained on."""

UNSEEN_KINDS = PhantomSettings(
    contrast=ContrastSettings(grey=(1.38, 1.6), white_matter_lesions=1.0),
    tumour=TumourSettings(brightness=(1.12, 1.5), fingers=1.0, satellites=0.5),
    scanner=ScannerSettings(thick_slices=1.0, gamma=0.3),
)
"""Kinds that no bundled model was trained on: what is chosen must hold for them, too."""

AGED = PhantomSettings(head=HeadSettings(wide_ventricles=0.5), contrast=ContrastSettings(caps=0.4))
"""With what age brings, and what the bundled models have not learnt to tell from tumours."""

KINDS = {"usual": PhantomSettings(), "heads": HEADS, "unseen": UNSEEN_KINDS, "aged": AGED}
