import numpy as np
import pytest
from helpers.acquisitions import tilted, turned

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.volume import Geometry, Volume, resample, write_volume
from clisc_nnunet.settings import SliceSettings
from clisc_nnunet.stages.brain_extraction import read_brain_mask
from clisc_nnunet.stages.slice_extraction import (
    DARKEST_BRAIN,
    SliceStack,
    background_value,
    foreground_mask,
    make_slices,
    scale_to_8bit,
    to_scan_grid,
)


def test_slices_are_square_and_contain_the_brain(head):
    stack = make_slices(head[0], SliceSettings())
    assert stack.pixels.shape[1:] == (128, 128)
    assert stack.pixels.dtype == np.uint8
    assert stack.geometry.spacing[0] == stack.geometry.spacing[1] >= 1.5
    litres = stack.brain.sum() * np.prod(stack.geometry.spacing) / 1e6
    true = (head[0].array != 0).sum() * 8 / 1e6
    assert litres == pytest.approx(true, rel=0.03)
    assert (stack.pixels[stack.brain] >= DARKEST_BRAIN).all()
    assert (stack.pixels[~stack.brain] == 0).all()


@pytest.mark.parametrize("degrees", [0, 20])
@pytest.mark.parametrize("orientation", ["LPS", "RAS", "PIR", "ASL"])
def test_slices_map_back_to_the_scan(head, orientation, degrees):
    volume, blob = head
    oblique = Geometry(
        volume.geometry.size, volume.geometry.spacing, volume.geometry.origin, tilted(degrees)
    )
    scan = turned(Volume(volume.array, oblique), orientation)
    truth = turned(Volume(blob.astype(np.float32), oblique), orientation).array > 0.5
    stack = make_slices(scan, SliceSettings())
    drawn = (stack.pixels > 200).astype(np.float32)  # the blob alone is so bright
    back = to_scan_grid(drawn, stack, scan.geometry, outside=0.0) > 0.5
    assert 2 * (back & truth).sum() / (back.sum() + truth.sum()) > 0.85
    # Neither mirrored nor upside down: any flip moves the blob off its place.
    for axis in range(3):
        assert not (np.flip(back, axis) & truth).any()


def test_thick_sagittal_scans_become_axial_slices_too(head):
    """5 mm from ear to ear, 1 mm within the planes."""
    volume, blob = head
    fine = Geometry((28, 160, 120), (5.0, 1.0, 1.0), (-70.0, -80.0, -60.0), tilted(0))
    thick = Volume(resample(volume.array, volume.geometry, fine), fine)
    thick = Volume(np.where(thick.array > 50, thick.array, 0.0), fine)
    truth = resample(blob.astype(np.float32), volume.geometry, fine) > 0.5
    scan = turned(thick, "PIR")
    stack = make_slices(scan, SliceSettings())
    assert stack.geometry.spacing[0] == stack.geometry.spacing[1]
    drawn = (stack.pixels > 180).astype(np.float32)
    back = turned(
        Volume(to_scan_grid(drawn, stack, scan.geometry, outside=0.0), scan.geometry), "LPS"
    )
    overlap = (back.array > 0.5) & truth
    assert 2 * overlap.sum() / ((back.array > 0.5).sum() + truth.sum()) > 0.8


def test_planes_with_one_per_cent_of_brain_are_processed(head):
    brain = np.zeros((3, 20, 20), bool)
    brain[1, 0, :3] = True
    brain[2, 0, :4] = True
    stack = SliceStack(brain.astype(np.uint8), brain, head[0].geometry)
    assert stack.planes_with_brain.tolist() == [2]


def test_blob_is_up_back_and_left_on_the_slices(head):
    stack = make_slices(head[0], SliceSettings())
    centre = np.argwhere(stack.pixels > 200).mean(axis=0)
    middle = np.argwhere(stack.brain).mean(axis=0)
    assert (centre > middle + 5).all()


def test_background_may_have_any_value(head):
    volume, _ = head
    shifted = Volume(np.where(volume.array == 0, -1000, volume.array + 500), volume.geometry)
    assert background_value(shifted.array) == -1000
    assert np.array_equal(foreground_mask(shifted.array), volume.array != 0)
    one, other = (make_slices(v, SliceSettings()).pixels.astype(int) for v in (shifted, volume))
    assert np.abs(one - other).max() <= 1  # rounding


def test_a_tumour_does_not_change_how_other_slices_look(head):
    """Only with scaling per volume does a healthy slice stay darker than one with a tumour."""
    volume, _ = head
    by_volume = make_slices(volume, SliceSettings())
    by_slice = make_slices(volume, SliceSettings(scaling="slice"))
    low = len(by_volume.pixels) // 4  # far below the blob
    assert by_volume.pixels[low].max() < 180
    assert by_slice.pixels[low].max() == 255


def test_a_large_head_gets_larger_pixels(head):
    volume, _ = head
    large = Volume(
        volume.array,
        Geometry(
            volume.geometry.size, (3.5, 3.5, 3.5), volume.geometry.origin, volume.geometry.direction
        ),
    )
    stack = make_slices(large, SliceSettings())
    assert stack.geometry.spacing[0] > 1.9
    assert stack.brain[:, 0].sum() == stack.brain[:, :, 0].sum() == 0


def test_thick_planes_are_kept_and_thin_ones_resampled(head):
    volume, _ = head
    for spacing, expected in ((5.0, 5.0), (0.5, 1.5)):
        geometry = Geometry(
            volume.geometry.size, (2.0, 2.0, spacing), (0.0,) * 3, volume.geometry.direction
        )
        stack = make_slices(Volume(volume.array, geometry), SliceSettings())
        assert stack.geometry.spacing[2] == expected


def test_brain_box_stretches_the_brain(head):
    stack = make_slices(head[0], SliceSettings(frame="brain_box", pixels=96, plane_mm=0))
    assert stack.pixels.shape == (51, 96, 96)
    assert stack.brain[:, 1].any()
    assert stack.brain[:, :, -2].any()


def test_scaling_spans_the_percentiles():
    values = np.linspace(0, 1000, 1001)
    scaled = scale_to_8bit(values, values > 0, 10.0, 90.0)
    assert scaled[0] == 0
    assert scaled[1] == scaled[100] == DARKEST_BRAIN
    assert scaled[-1] == scaled[901] == 255
    assert DARKEST_BRAIN < scaled[500] < 255


def test_an_empty_scan_is_reported(head):
    volume, _ = head
    with pytest.raises(ScanError, match="background only"):
        make_slices(volume, SliceSettings(), np.zeros(volume.array.shape, bool))


def test_a_given_brain_mask_is_used_unchanged(head, tmp_path):
    volume, _ = head
    brain = volume.array > 0
    write_volume(tmp_path / "a.nii.gz", 3.0 * brain, volume.geometry)
    assert np.array_equal(read_brain_mask(tmp_path / "a.nii.gz", volume.geometry), brain)


def test_a_tumour_mask_is_rejected_as_brain_mask(head, tmp_path):
    volume, blob = head
    write_volume(tmp_path / "a.nii.gz", blob, volume.geometry)
    with pytest.raises(ScanError, match=r"a mask of 1\d\.\d ml; expected a brain, 150 ml or more"):
        read_brain_mask(tmp_path / "a.nii.gz", volume.geometry)
