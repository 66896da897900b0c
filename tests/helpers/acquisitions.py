"""The same head, acquired along other axes."""

import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from clisc_nnunet.io.volume import Geometry, Volume


def turned(volume: Volume, orientation: str) -> Volume:
    """The volume with its axes in another order, such as `RAS`, but the same place in space."""
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.geometry.spacing)
    image.SetOrigin(volume.geometry.origin)
    image.SetDirection(volume.geometry.direction)
    image = sitk.DICOMOrient(image, orientation)
    geometry = Geometry(
        image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection()
    )
    return Volume(sitk.GetArrayFromImage(image), geometry)


def tilted(degrees: float) -> tuple[float, ...]:
    """Direction cosines of an axial scan, tilted about the left-right axis and another."""
    angles = (degrees, degrees / 2)
    return tuple(Rotation.from_euler("xz", angles, degrees=True).as_matrix().flat)
