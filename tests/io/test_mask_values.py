import numpy as np
import pytest

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.mask_values import check_is_scan, looks_like_mask

SHAPE = (20, 40, 36)
_PLACE = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
BRAIN = (_PLACE**2).sum(0) < 0.8
TUMOUR = ((_PLACE - 0.2) ** 2).sum(0) < 0.1
NOISE = np.random.default_rng(0).normal(0, 1, SHAPE)
SCAN = np.where(BRAIN, 300 + 30 * NOISE + 200 * TUMOUR, 0)


@pytest.mark.parametrize(
    "mask",
    [
        TUMOUR.astype(np.uint8),
        255.0 * TUMOUR,
        np.float32(TUMOUR) * 2 + BRAIN,
        np.where(BRAIN, 1 + (_PLACE[0] > 0) + 2 * (_PLACE[1] > 0) + 4 * TUMOUR, 0),
        np.where(TUMOUR, -1, -1024).astype(np.int16),
    ],
)
def test_masks_and_label_maps(mask):
    assert looks_like_mask(mask)
    with pytest.raises(ScanError, match=r"x.nii: found .* values .* constant over regions: a mask"):
        check_is_scan("x.nii", mask)


@pytest.mark.parametrize(
    "scan",
    [
        SCAN.astype(np.float32),
        SCAN.astype(np.int16),
        (SCAN / 40).astype(np.uint8),  # few grey values
        np.where(BRAIN, 0.2 + 0.5 * TUMOUR, 0),  # no integers
        np.clip(SCAN, 0, 290).astype(np.int16),
        np.eye(9)[None].repeat(3, 0) * 9,  # no region
    ],
)
def test_scans(scan):
    assert not looks_like_mask(scan)
    check_is_scan("x.nii", scan)
