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
    scalp: float = 0.0
    """Share of phantoms that keep skull and scalp."""


@dataclass(frozen=True)
class ContrastSettings:
    """Intensities, white matter being 1."""

    grey: Range = (1.0, 1.38)
    ventricle: Range = (0.08, 0.45)
    sulci_above_ventricle: Range = (0.05, 0.35)
    periventricular_rim: float = 0.8
    """Share of phantoms with a bright rim round the ventricles."""
    white_matter_lesions: float = 0.35
    bright_edge: float = 0.7
    """Share with bright remains of skull, dura or fat at the brain's edge."""
    bright_cortex: float = 0.4


@dataclass(frozen=True)
class TumourSettings:
    """Tumours; the label is the whole tumour."""

    free: float = 0.1
    """Share of phantoms without one."""
    radius_mm: Range = (15.0, 40.0)
    min_ml: float = 6.0
    """Smaller ones are drawn again: they teach a slice classifier nothing."""
    brightness: Range = (1.25, 1.95)
    """Of the tumour, as a multiple of the brightest healthy tissue."""
    satellites: float = 0.15
    """Share with further foci."""
    core: float = 0.5
    """Share with a core of its own: necrosis, cyst, solid part."""
    mottled: float = 0.25
    dull_half: float = 0.2
    """Share of which one side infiltrates and is hardly brighter than brain."""
    mass_effect: Range = (0.0, 0.35)


@dataclass(frozen=True)
class ScannerSettings:
    """What the scanner adds."""

    bias: Range = (0.02, 0.14)
    noise: Range = (0.005, 0.07)
    blur_voxels: Range = (0.0, 0.8)
    thick_slices: float = 0.15
    """Share whose planes are averaged over 3 to 5 mm."""
    cut_field_of_view: float = 0.08
    gamma: float = 0.15


@dataclass(frozen=True)
class PhantomSettings:
    """Everything that may vary."""

    head: HeadSettings = HeadSettings()
    contrast: ContrastSettings = ContrastSettings()
    tumour: TumourSettings = TumourSettings()
    scanner: ScannerSettings = ScannerSettings()
