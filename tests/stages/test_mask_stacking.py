import numpy as np
import pytest

from clisc_nnunet.stages.sam.mask_stacking import case_iou, stack_masks
from clisc_nnunet.stages.sam.prompts_and_masks import Masks


def test_masks_are_stacked_and_poor_ones_dropped():
    masks = Masks(
        np.stack([np.full((4, 4), v) for v in (3.0, 50.0, 1.0)]), np.array([0.9, 0.5, 0.1])
    )
    logits = stack_masks(masks, np.array([1, 3, 4]), (6, 4, 4), min_predicted_iou=0.3)
    assert logits[:, 0, 0].tolist() == [-10, 3, -10, 10, -10, -10]


def test_case_iou_is_averaged_over_slices_with_a_mask():
    logits = np.full((3, 4, 4), -1.0)
    estimates = np.array([0.9, 0.5, 0.1])
    assert case_iou(Masks(logits, estimates)) == 0.0
    logits[:2, 1, 1] = 1.0
    assert case_iou(Masks(logits, estimates)) == pytest.approx(0.7)
