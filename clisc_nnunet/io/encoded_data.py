"""Checksums of compressed NRRD and MetaImage files, which ITK does not verify.

ITK reads a file with a damaged stream without an error, with other voxels from there on.
"""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path
from typing import BinaryIO

ENDINGS = (".nrrd", ".mha")
# Headers are short; a file without an end of its header within this length is not of this kind.
_MAX_HEADER = 1 << 16


def check_encoded_data(path: Path) -> None:
    """Check length and checksum of the voxels in a `.nrrd` or `.mha` file, if compressed.

    Raises
    ------
    OSError, EOFError, zlib.error
        If the stream is damaged or incomplete.
    """
    with path.open("rb") as file:
        start = file.read(_MAX_HEADER)
        if path.name.lower().endswith(".mha"):
            end = re.search(rb"^ElementDataFile *= *LOCAL *\r?\n", start, re.M)
            if end and re.search(rb"^CompressedData *= *True", start[: end.start()], re.M):
                file.seek(end.end())
                _check_zlib(file)
            return
        end = re.search(rb"\r?\n\r?\n", start)
        header = start[: end.start()] if end else b""
        detached = re.search(rb"^data ?file:", header, re.M | re.I)
        if end and not detached and re.search(rb"^encoding: *gz", header, re.M | re.I):
            file.seek(end.end())
            with gzip.GzipFile(fileobj=file) as stream:
                while stream.read(1 << 22):
                    pass


def _check_zlib(file: BinaryIO) -> None:
    stream = zlib.decompressobj()
    # In blocks, so that the voxels are not in memory twice.
    while not stream.eof and (block := file.read(1 << 16)):
        stream.decompress(block)
    if not stream.eof:
        raise EOFError("compressed data end before their checksum")
