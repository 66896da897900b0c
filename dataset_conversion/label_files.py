"""Label files that a person has saved: their names, and their voxels on the grid of the scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from clisc_nnunet.dataset_conversion.label_values import tumour_mask
from clisc_nnunet.dataset_layout import FILE_ENDING
from clisc_nnunet.errors import ScanError, one_line
from clisc_nnunet.io.sitk_images import read_image
from clisc_nnunet.io.volume import Geometry, grid_text, read_geometry, same_grid
from clisc_nnunet.io.voxel_alignment import Alignment, find_alignment, move_onto

# As ITK-SNAP and 3D Slicer save them; longer endings first.
SEGMENTATION_ENDING = ".seg.nrrd"
LABEL_ENDINGS = (FILE_ENDING, SEGMENTATION_ENDING, ".nii", ".nrrd", ".mha")


@dataclass(frozen=True)
class SavedLabel:
    """A label that a person has saved.

    Parameters
    ----------
    path : Path
    mask : bool ndarray of shape (plane, row, column)
        Tumour on the grid of the scan.
    notes : tuple of str
        What was done to the file's content, and what is unusual about it.
    usable_as_is : bool
        Whether nnU-Net can use the file itself.
    """

    path: Path
    mask: np.ndarray
    notes: tuple[str, ...]
    usable_as_is: bool


def label_files(folder: Path) -> dict[str, list[Path]]:
    """Files of a folder that may be labels, by case; `CASE.nii.gz` comes first."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir() if folder.is_dir() else ()):
        ending = next((end for end in LABEL_ENDINGS if path.name.lower().endswith(end)), None)
        if ending is not None and not path.name.startswith(".") and path.is_file():
            found.setdefault(path.name[: -len(ending)], []).append(path)
    for case, paths in found.items():
        paths.sort(key=lambda path: (path.name != f"{case}{FILE_ENDING}", path.name))
    return found


def read_label(path: Path, grid: Geometry, *, any_label: bool = False) -> SavedLabel:
    """Read a label and put it on the grid of its scan, without interpolation.

    Parameters
    ----------
    grid : Geometry
        Of the scan.
    any_label : bool
        See `tumour_mask`.

    Raises
    ------
    ScanError
        If the file is damaged or incomplete, has values that are no label, or voxels that are not
        those of the scan.
    """
    values, geometry = _values(path), read_geometry(path)
    alignment = find_alignment(geometry, grid)
    if alignment is None:
        raise off_grid(path, geometry, grid)
    mask, notes = tumour_mask(path, values, any_label=any_label)
    moved, lost = move_onto(mask, alignment, grid.shape)
    if lost:
        raise ScanError(
            path,
            f"{lost} labelled voxels outside of its scan",
            f"labelled voxels within {grid_text(grid)}",
            "check that it is the label of this scan",
        )
    in_place = values.shape == grid.shape and not alignment.reoriented
    return SavedLabel(
        path,
        moved,
        (*notes, *_moves(geometry, grid, alignment)),
        in_place and path.name.endswith(FILE_ENDING) and not np.any(values > 1),
    )


def agreed_label(paths: Sequence[Path], grid: Geometry, *, any_label: bool = False) -> SavedLabel:
    """Read the label of a case from one file, or from several with the same voxels.

    Raises
    ------
    ScanError
        As `read_label`, or if the files differ.
    """
    first, *others = (read_label(path, grid, any_label=any_label) for path in paths)
    for other in others:
        if not np.array_equal(first.mask, other.mask):
            raise ScanError(
                other.path,
                f"another label than {one_line(first.path.name)} beside it",
                "one corrected label of a case",
                "remove the outdated one",
            )
    return first


def off_grid(path: Path, found: Geometry, grid: Geometry) -> ScanError:
    """Error for a label whose voxels are not those of its scan; it says what differs."""
    ours, wanted = grid_text(found), grid_text(grid)
    if not np.allclose(found.direction, grid.direction, atol=1e-3):
        # All else may agree: then the direction alone is said.
        same = same_grid(_turned(found, grid), grid)
        ours, wanted = (
            f"{'' if same else f'{text}, '}direction {direction_text(one)}"
            for text, one in ((ours, found), (wanted, grid))
        )
    return ScanError(
        path,
        f"a corrected label of {ours}",
        f"the grid of its scan: {wanted}",
        "save it on the grid of the scan, or remove it",
    )


def direction_text(geometry: Geometry) -> str:
    """Orientation code, such as LPS, and direction cosines, for messages."""
    code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(geometry.direction)
    return f"{code} ({' '.join(f'{value:.4g}' for value in geometry.direction)})"


def _values(path: Path) -> np.ndarray:
    try:
        return read_image(path)[0]
    except ScanError as error:
        if "component" not in error.found or not path.name.lower().endswith(SEGMENTATION_ENDING):
            raise
        raise ScanError(
            path,
            "segments that overlap",
            "one segment, or segments that do not overlap",
            "export the tumour as a labelmap",
        ) from None


def _turned(geometry: Geometry, grid: Geometry) -> Geometry:
    return Geometry(geometry.size, geometry.spacing, geometry.origin, grid.direction)


def _moves(found: Geometry, grid: Geometry, alignment: Alignment) -> tuple[str, ...]:
    """What was done to move a label onto the grid of its scan."""
    notes = []
    if alignment.reoriented:
        notes.append("put back into the orientation of its scan")
    if sorted(found.size) != sorted(grid.size):
        size = " x ".join(map(str, found.size))
        notes.append(f"put back from {size} voxels onto the grid of its scan")
    return tuple(notes)
