"""Data elements of a DICOM file, as far as they decide how its pixels are read.

SimpleITK shows the elements of a file's top level only, and the positions of an enhanced
(multi-frame) file are in sequences. This reads DICOM PS3.5, section 7, and no pixels.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

# Values by tag: bytes as in the file, or the items of a sequence.
Elements = dict[int, "bytes | list[Elements]"]

TRANSFER_SYNTAX, PIXEL_DATA = 0x0002_0010, 0x7FE0_0010
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
# Transfer syntaxes of pixels that are not compressed.
NATIVE = (IMPLICIT, EXPLICIT, BIG_ENDIAN)

# Sequences of the functional groups of multi-frame images; files without value representations do
# not mark them.
SHARED_GROUPS, FRAME_GROUPS = 0x5200_9229, 0x5200_9230
FRAME_POSITION, FRAME_ORIENTATION = 0x0020_9113, 0x0020_9116
FRAME_MEASURES, FRAME_VALUES = 0x0028_9110, 0x0028_9145
_SEQUENCES = {
    SHARED_GROUPS,
    FRAME_GROUPS,
    FRAME_POSITION,
    FRAME_ORIENTATION,
    FRAME_MEASURES,
    FRAME_VALUES,
}

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFE_E000, 0xFFFE_E00D, 0xFFFE_E0DD
_UNDEFINED = 0xFFFF_FFFF
_PREAMBLE = 132
# Bytes that contain the elements before the pixels, most of the time.
_START = 1 << 16
# Value representations with a length of four bytes.
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_MAX_DEPTH = 16
_MAX_DEFLATED = 1 << 28


@dataclass(frozen=True)
class _Syntax:
    order: str
    explicit: bool


class InvalidElements(ValueError):
    """A file whose elements do not follow the standard, or end too early."""


def read_elements(path: Path, wanted: Container[int]) -> Elements:
    """Elements of a DICOM file before its pixels.

    Parameters
    ----------
    path : Path
    wanted : container of int
        Tags (group << 16 | element) of the elements and sequences that are returned.

    Returns
    -------
    dict of tag to (bytes or list of dict)
        Including the transfer syntax.

    Raises
    ------
    InvalidElements
        If it is not a DICOM file, or invalid.
    OSError
        If it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(_START)
        try:
            found, has_pixels = _parsed(content, wanted)
        except InvalidElements:
            has_pixels = False
        if not has_pixels and (rest := file.read()):
            found, has_pixels = _parsed(content + rest, wanted)
    if not has_pixels:
        raise InvalidElements("it ends before its pixels")
    return found


def _parsed(content: bytes, wanted: Container[int]) -> tuple[Elements, bool]:
    """Elements of a file that may be incomplete, and whether its pixels begin in it."""
    if content[_PREAMBLE - 4 : _PREAMBLE] != b"DICM":
        raise InvalidElements("no DICOM file")
    meta = {TRANSFER_SYNTAX}
    try:
        of_file, start = _read_group(
            content, _PREAMBLE, len(content), _Syntax("<", True), meta, 0x0003_0000, 0
        )
        name = text(of_file.get(TRANSFER_SYNTAX, b"")) or IMPLICIT
        if name == DEFLATED:
            inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            content, start = inflate.decompress(content[start:], _MAX_DEFLATED), 0
        syntax = _Syntax(">" if name == BIG_ENDIAN else "<", name != IMPLICIT)
        found, end = _read_group(content, start, len(content), syntax, wanted, PIXEL_DATA, 0)
    except (struct.error, zlib.error) as error:
        raise InvalidElements(str(error)) from None
    return {**found, TRANSFER_SYNTAX: name.encode("latin-1")}, end < len(content)


def text(value: bytes | list[Elements]) -> str:
    """Text of a value, without padding."""
    return value.decode("latin-1").strip(" \0") if isinstance(value, bytes) else ""


def _read_group(
    data: bytes,
    start: int,
    end: int,
    syntax: _Syntax,
    wanted: Container[int],
    last: int,
    depth: int,
) -> tuple[Elements, int]:
    """Elements from `start` to `end`, an item's end, or the tag `last`; and where they end."""
    if depth > _MAX_DEPTH:
        raise InvalidElements("too many sequences in each other")
    found: Elements = {}
    position = start
    while position < end:
        tag, vr, length, value = _header(data, position, syntax)
        if tag == _ITEM_END:
            return found, value
        if tag >= last and tag >> 16 != 0xFFFE:
            return found, position
        if length == _UNDEFINED or (tag in wanted and tag in _SEQUENCES):
            # Of unknown representation and undefined length: implicit, by the standard.
            inner = _Syntax("<", False) if vr == b"UN" else syntax
            limit = end if length == _UNDEFINED else value + length
            items, position = _read_items(data, value, limit, inner, wanted, depth + 1)
            if tag in wanted:
                found[tag] = items
            continue
        position = value + length
        if position > end:
            raise InvalidElements(f"element {tag:08x} ends after the file")
        if tag in wanted:
            found[tag] = data[value:position]
    return found, position


def _header(data: bytes, position: int, syntax: _Syntax) -> tuple[int, bytes, int, int]:
    """Tag, value representation, length, and position of the value of an element."""
    order = syntax.order
    group, element = struct.unpack_from(order + "HH", data, position)
    tag = group << 16 | element
    vr = data[position + 4 : position + 6]
    # Items have none, and neither do some elements that careless software has added.
    if not syntax.explicit or group == 0xFFFE or not (vr.isalpha() and vr.isupper()):
        vr = b""
        (length,) = struct.unpack_from(order + "I", data, position + 4)
        return tag, vr, length, position + 8
    if vr in _LONG:
        (length,) = struct.unpack_from(order + "I", data, position + 8)
        return tag, vr, length, position + 12
    (length,) = struct.unpack_from(order + "H", data, position + 6)
    return tag, vr, length, position + 8


def _read_items(
    data: bytes, start: int, end: int, syntax: _Syntax, wanted: Container[int], depth: int
) -> tuple[list[Elements], int]:
    """Items of a sequence, and where it ends."""
    items: list[Elements] = []
    position = start
    while position < end:
        tag, _, length, value = _header(data, position, syntax)
        if tag == _SEQUENCE_END:
            return items, value
        if tag != _ITEM:
            raise InvalidElements(f"element {tag:08x} in the place of an item")
        limit = end if length == _UNDEFINED else value + length
        if limit > end:
            raise InvalidElements("an item ends after its sequence")
        item, position = _read_group(data, value, limit, syntax, wanted, 1 << 32, depth)
        items.append(item)
    return items, position
