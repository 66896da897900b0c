from pathlib import Path

import numpy as np
import pytest

from clisc_nnunet.dataset_conversion.label_values import tumour_mask
from clisc_nnunet.errors import ScanError

PATH = Path("labels/a.nii.gz")


def label(*values, dtype=np.float32):
    """A label with these values, most of it background."""
    return np.array([0, 0, *values], dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_zero_and_one_need_no_remark(dtype):
    mask, notes = tumour_mask(PATH, label(1, 1, dtype=dtype))
    assert mask.tolist() == [False, False, True, True] and notes == ()


@pytest.mark.parametrize("value", [2, 4, 255])
def test_a_single_value_is_tumour(value):
    mask, notes = tumour_mask(PATH, label(value))
    assert mask.sum() == 1 and notes == (f"{value} taken as tumour",)


def test_several_values_are_tumour_only_if_asked_for():
    with pytest.raises(ScanError, match=r"the values 1, 2, 4; .*--any-label takes every value"):
        tumour_mask(PATH, label(1, 2, 4))
    mask, notes = tumour_mask(PATH, label(1, 2, 4), any_label=True)
    assert mask.sum() == 3 and notes == ("1, 2, 4 taken as tumour",)


@pytest.mark.parametrize("any_label", [False, True])
@pytest.mark.parametrize(
    ("value", "found"),
    [
        (0.37, "the value 0.37.*not probabilities"),
        (-1, "the value -1"),
        (np.nan, "1 voxels that are NaN"),
        (np.inf, "1 voxels that are NaN or infinite"),
    ],
)
def test_values_that_are_no_label_are_refused(value, found, any_label):
    with pytest.raises(ScanError, match=found):
        tumour_mask(PATH, label(1, value), any_label=any_label)


@pytest.mark.parametrize(
    ("value", "remark"), [(0, "no voxel is labelled"), (1, "all voxels are labelled")]
)
def test_an_empty_and_a_full_label_are_reported(value, remark):
    mask, notes = tumour_mask(PATH, np.full((2, 2, 2), value))
    assert mask.all() == bool(value) and notes == (f"warning: {remark}",)
