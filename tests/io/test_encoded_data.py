"""Damaged streams of formats whose checksums ITK ignores."""

import numpy as np
import pytest

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.sitk_images import read_image
from clisc_nnunet.io.volume import Geometry, write_volume

GRID = Geometry((30, 20, 10), (1, 1, 1), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
LABEL = (np.random.default_rng(0).random(GRID.shape) > 0.5).astype(np.uint8)


ENDINGS = (".nrrd", ".seg.nrrd", ".mha", ".nii", ".nii.gz")


def damaged(content: bytes, damage: str) -> bytes:
    """Half of a file, all but its last byte, or all with another bit in its last quarter."""
    changed = bytearray(content)
    changed[-len(content) // 4] ^= damage == "one bit"
    return bytes(changed[: {"half": len(content) // 2, "one byte": -1}.get(damage)])


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_complete_file_is_read(tmp_path, ending):
    write_volume(tmp_path / f"a{ending}", LABEL, GRID)
    np.testing.assert_array_equal(read_image(tmp_path / f"a{ending}")[0], LABEL)


@pytest.mark.parametrize(
    ("ending", "damage"),
    [
        (ending, damage)
        for ending in ENDINGS
        for damage in ("half", "one byte", "one bit")
        if (ending, damage) != (".nii", "one bit")  # has no checksum
    ],
)
def test_a_damaged_file_is_never_read(tmp_path, ending, damage, capfd):
    path = tmp_path / f"a{ending}"
    write_volume(path, LABEL, GRID)
    path.write_bytes(damaged(path.read_bytes(), damage))
    with pytest.raises(ScanError, match="a file that cannot be read"):
        read_image(path)
    capfd.readouterr()  # MetaIO's own message
