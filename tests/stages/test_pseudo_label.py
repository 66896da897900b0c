import numpy as np
import pytest

from clisc_nnunet.settings import PseudoLabelSettings, SliceSettings
from clisc_nnunet.stages.pseudo_label import fill_holes, make_pseudo_label
from clisc_nnunet.stages.sam.mask_stacking import OUTSIDE_LOGIT
from clisc_nnunet.stages.slice_extraction import make_slices


def test_holes_are_filled_plane_by_plane():
    logits = np.full((2, 7, 7), -5.0, np.float32)
    logits[0, 1:6, 1:6] = 4
    logits[0, 3, 3] = -5  # enclosed
    logits[1, 1:6, 1:6] = 4
    logits[1, 3, 3:] = -5  # open to the side
    filled = fill_holes(logits)
    assert filled[0, 3, 3] > 0
    assert filled[1, 3, 3] < 0
    assert filled[0, 0, 0] == -5


@pytest.mark.parametrize("fill", [True, False])
def test_a_label_has_its_position_on_the_scan(head, fill):
    volume, blob = head
    stack = make_slices(volume, SliceSettings())
    logits = np.where(stack.pixels > 200, 5.0, OUTSIDE_LOGIT).astype(np.float32)
    brain = volume.array != 0
    label = make_pseudo_label(
        logits, stack, volume.geometry, brain, PseudoLabelSettings(fill_holes=fill)
    )
    assert label.dtype == np.uint8
    assert label.shape == volume.array.shape
    assert not label[~brain].any()
    assert 2 * (label & blob).sum() / (label.sum() + blob.sum()) > 0.85


def test_small_components_can_be_dropped(head):
    volume, _ = head
    stack = make_slices(volume, SliceSettings())
    logits = np.full(stack.pixels.shape, OUTSIDE_LOGIT, np.float32)
    logits[20:30, 60:80, 60:80] = 5
    logits[40:43, 50:53, 50:53] = 5
    everywhere = np.ones(volume.array.shape, bool)
    keep, drop = (
        make_pseudo_label(
            logits, stack, volume.geometry, everywhere, PseudoLabelSettings(component_ratio=ratio)
        )
        for ratio in (0.0, 0.5)
    )
    assert 0 < drop.sum() < keep.sum()
