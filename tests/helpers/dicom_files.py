"""DICOM series on disk."""

import locale

import numpy as np
import SimpleITK as sitk

from clisc_nnunet.io.volume import Geometry
from helpers.acquisitions import tilted

GRID = Geometry((8, 7, 6), (1.5, 2.0, 4.0), (-10.0, 20.0, 30.0), tilted(15))
ARRAY = np.random.default_rng(0).integers(0, 900, GRID.shape).astype(np.int16)


def write_series(folder, uid, description="FLAIR", planes=range(6), study="1.9"):
    """Slices of ARRAY in files with arbitrary names."""
    folder.mkdir(parents=True, exist_ok=True)
    before = locale.setlocale(locale.LC_ALL)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    axes = np.reshape(GRID.direction, (3, 3))
    for place, plane in enumerate(planes):
        image = sitk.GetImageFromArray(ARRAY[plane][None])
        image.SetSpacing(GRID.spacing)
        origin = GRID.origin + axes @ (0, 0, plane * GRID.spacing[2])
        image.SetOrigin(origin.tolist())
        image.SetDirection(GRID.direction)
        tags = {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.4",
            "0008|0018": f"{uid}.{plane}.{place}",
            "0008|0060": "MR",
            "0008|103e": description,
            "0020|000d": study,
            "0020|000e": uid,
            "0020|0032": "\\".join(f"{v:.6f}" for v in origin),
            "0020|0037": "\\".join(f"{v:.8f}" for v in axes[:, :2].T.ravel()),
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{uid}_{plane}_{place}.dcm"))
        writer.SetImageIO("GDCMImageIO")
        writer.Execute(image)
    # GDCM sets the C locale, in which Python's text files are ASCII.
    locale.setlocale(locale.LC_ALL, before)
