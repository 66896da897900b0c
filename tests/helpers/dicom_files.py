"""DICOM series on disk."""

import locale
import struct
from dataclasses import dataclass

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


def write_enhanced(
    path,
    order=range(6),
    scalings=None,
    *,
    axes=None,
    spacing=(2.0, 1.5),
    syntax="1.2.840.10008.1.2.1",
    sequence_length=True,
    frames_claimed=None,
    size_claimed=None,
):
    """A multi-frame file of ARRAY's planes in any order, positions on GRID.

    `scalings` are slope and intercept of each frame; stored values are always those of ARRAY.
    """
    dicom = Encoder(explicit=syntax != "1.2.840.10008.1.2", known_lengths=sequence_length)
    directions = np.reshape(GRID.direction, (3, 3))
    axes = directions[:, :2].T.ravel() if axes is None else axes
    groups = []
    for place, plane in enumerate(order):
        slope, intercept = scalings[place] if scalings else (1, 0)
        position = GRID.origin + directions @ (0, 0, plane * GRID.spacing[2])
        at = dicom.element(0x0020_0032, "DS", numbers(position))
        scaling = [
            dicom.element(0x0028_1052, "DS", numbers([intercept])),
            dicom.element(0x0028_1053, "DS", numbers([slope])),
            dicom.element(0x0028_1054, "LO", "US"),
        ]
        groups.append(
            dicom.sequence(0x0020_9113, [at]) + dicom.sequence(0x0028_9145, [b"".join(scaling)])
        )
    shared = dicom.sequence(
        0x0020_9116, [dicom.element(0x0020_0037, "DS", numbers(axes))]
    ) + dicom.sequence(0x0028_9110, [dicom.element(0x0028_0030, "DS", numbers(spacing))])
    count, rows, columns = len(groups), *ARRAY.shape[1:]
    enhanced = "1.2.840.10008.5.1.4.1.1.4.1"
    content = [
        dicom.element(0x0008_0016, "UI", enhanced),
        dicom.element(0x0008_0018, "UI", "1.2.3.4"),
        dicom.element(0x0008_0060, "CS", "MR"),
        dicom.element(0x0008_103E, "LO", "FLAIR"),
        # A sequence of no interest, with elements that are of interest elsewhere.
        dicom.sequence(0x0008_1140, [dicom.element(0x0020_0032, "DS", numbers([1, 2, 3]))]),
        dicom.element(0x0020_000D, "UI", "1.9"),
        dicom.element(0x0020_000E, "UI", "1.2.3"),
        dicom.element(0x0028_0002, "US", struct.pack("<H", 1)),
        dicom.element(0x0028_0004, "CS", "MONOCHROME2"),
        dicom.element(0x0028_0008, "IS", str(frames_claimed or count)),
        *(
            dicom.element(0x0028_0000 | tag, "US", struct.pack("<H", value))
            for tag, value in [
                (0x10, size_claimed or rows),
                (0x11, size_claimed or columns),
                (0x100, 16),
                (0x101, 16),
                (0x102, 15),
                (0x103, 1),
            ]
        ),
        dicom.sequence(0x5200_9229, [shared]),
        dicom.sequence(0x5200_9230, groups),
        dicom.element(0x7FE0_0010, "OW", ARRAY[list(order)].astype("<i2").tobytes()),
    ]
    explicit = Encoder()
    meta = b"".join(
        explicit.element(0x0002_0000 | tag, "UI", value)
        for tag, value in [(2, enhanced), (3, "1.2.3.4"), (0x10, syntax)]
    )
    length = explicit.element(0x0002_0000, "UL", struct.pack("<I", len(meta)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(128) + b"DICM" + length + meta + b"".join(content))
    return path


def numbers(values):
    return "\\".join(f"{value:.10g}"[:16] for value in values)


@dataclass(frozen=True)
class Encoder:
    """DICOM data elements, little endian."""

    explicit: bool = True
    known_lengths: bool = True

    def element(self, tag, vr, value):
        """Tag, representation, length and value of an element."""
        if isinstance(value, str):
            value = value.encode() + (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
        start = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
        if not self.explicit:
            return start + struct.pack("<I", len(value)) + value
        if vr in ("OW", "SQ"):
            return start + vr.encode() + struct.pack("<HI", 0, len(value)) + value
        return start + vr.encode() + struct.pack("<H", len(value)) + value

    def sequence(self, tag, items):
        """A sequence of encoded items."""
        start = struct.pack("<HH", 0xFFFE, 0xE000)
        if self.known_lengths:
            body = b"".join(start + struct.pack("<I", len(item)) + item for item in items)
            return self.element(tag, "SQ", body)
        unknown = struct.pack("<I", 0xFFFF_FFFF)
        item_end, sequence_end = (
            struct.pack("<HHI", 0xFFFE, element, 0) for element in (0xE00D, 0xE0DD)
        )
        body = b"".join(start + unknown + item + item_end for item in items) + sequence_end
        header = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
        return header + (b"SQ\0\0" if self.explicit else b"") + unknown + body


def replaced(path, tag, value):
    """Replace the value of an element of the top level in a file of `write_series`."""
    content = path.read_bytes()
    # SimpleITK writes implicit elements: tag, length, value.
    start = content.index(struct.pack("<HH", tag >> 16, tag & 0xFFFF), 132)
    (length,) = struct.unpack_from("<I", content, start + 4)
    value += b" " * (len(value) % 2)
    rest = content[start + 8 + length :]
    path.write_bytes(content[: start + 4] + struct.pack("<I", len(value)) + value + rest)
