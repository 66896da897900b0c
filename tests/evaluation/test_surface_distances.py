import numpy as np
import pytest
import SimpleITK as sitk

from clisc_nnunet.evaluation.surface_distances import surface_scores


def ball(centre, radius, shape=(40, 48, 48), spacing=(1.0, 1.0, 1.0)):
    """Bool ball; centre and radius in millimetres."""
    where = np.indices(shape) * np.reshape(spacing, (3, 1, 1, 1))
    return ((where - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0) <= radius**2


def itk_distances(prediction, reference, spacing):
    """Distances from either contour to the other, by SimpleITK: a second opinion."""
    images = []
    for mask in (prediction, reference):
        image = sitk.GetImageFromArray(np.pad(mask, 1).astype(np.uint8))
        image.SetSpacing(spacing[::-1])
        images.append(image)
    contours = [sitk.LabelContour(image) for image in images]
    maps = [
        sitk.GetArrayFromImage(
            sitk.Abs(
                sitk.SignedMaurerDistanceMap(contour, squaredDistance=False, useImageSpacing=True)
            )
        )
        for contour in contours
    ]
    rims = [sitk.GetArrayFromImage(contour) > 0 for contour in contours]
    return maps[1][rims[0]], maps[0][rims[1]]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 1.0, 1.0), (1.0, 0.8, 1.2)])
@pytest.mark.parametrize("shift, radius", [(0, 8), (4, 10), (9, 10), (2, 14)])
def test_agrees_with_simpleitk(spacing, shift, radius):
    shape = tuple(round(40 / s) for s in spacing)
    reference = ball((20, 20, 20), 10, shape, spacing)
    prediction = ball((20, 20, 20 + shift), radius, shape, spacing)
    found = surface_scores(prediction, reference, spacing, 1.0)
    there, back = itk_distances(prediction, reference, spacing)
    expected = max(np.percentile(there, 95), np.percentile(back, 95))
    # SimpleITK's contour goes through voxels, surface-distance's between them, and the one counts
    # voxels, the other areas: they may differ by the part of a voxel.
    assert found.hd95_mm == pytest.approx(expected, abs=0.75 * max(spacing))
    mean = np.concatenate([there, back]).mean()
    assert found.mean_distance_mm == pytest.approx(mean, abs=0.5 * max(spacing))


def test_boxes_apart_by_a_known_distance():
    reference = np.zeros((20, 20, 20), bool)
    reference[5:15, 5:15, 2:6] = True
    prediction = np.roll(reference, 9, axis=2)
    # Surfaces face each other: every element of the far side is 9 voxels of 2 mm away.
    found = surface_scores(prediction, reference, (1.0, 1.0, 2.0), 1.0)
    assert found.hd95_mm == pytest.approx(18.0)
    assert found.surface_dice == 0.0


def test_the_spacing_is_taken_in_the_arrays_order():
    reference = ball((20, 24, 24), 8)
    prediction = np.roll(reference, 3, axis=0)
    near = surface_scores(prediction, reference, (1.0, 5.0, 5.0), 1.0)
    far = surface_scores(prediction, reference, (5.0, 1.0, 1.0), 1.0)
    assert near.hd95_mm < 4 < far.hd95_mm


def test_the_same_mask_is_perfect():
    mask = ball((20, 24, 24), 8)
    found = surface_scores(mask, mask, (1.0, 1.0, 1.0), 0.0)
    assert (found.hd95_mm, found.mean_distance_mm, found.surface_dice) == (0.0, 0.0, 1.0)


def test_tolerance_forgives():
    reference, prediction = ball((20, 24, 24), 10), ball((20, 24, 24), 12)
    strict, lax = (
        surface_scores(prediction, reference, (1.0, 1.0, 1.0), t).surface_dice for t in (0.5, 3.0)
    )
    assert strict < 0.1
    assert lax == 1.0


def test_a_mask_at_the_edge_of_the_volume_has_a_surface_there():
    mask = np.ones((4, 4, 4), bool)
    other = mask.copy()
    other[3] = False
    found = surface_scores(other, mask, (1.0, 1.0, 1.0), 0.5)
    assert found.hd95_mm == pytest.approx(1.0)


@pytest.mark.parametrize("predicted, true", [(False, False), (True, False), (False, True)])
def test_empty_masks_have_no_distance(predicted, true):
    mask, empty = ball((20, 24, 24), 8), np.zeros((40, 48, 48), bool)
    found = surface_scores(
        mask if predicted else empty, mask if true else empty, (1.0, 1.0, 1.0), 1.0
    )
    assert np.isnan([found.hd95_mm, found.mean_distance_mm, found.surface_dice]).all()


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"shape \(2, 2, 2\), reference \(3, 3, 3\)"):
        surface_scores(np.ones((2, 2, 2), bool), np.ones((3, 3, 3), bool), (1.0, 1.0, 1.0), 1.0)
