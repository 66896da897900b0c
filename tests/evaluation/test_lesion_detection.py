import numpy as np

from clisc_nnunet.evaluation.lesion_detection import LesionCounts, count_lesions

SHAPE = (12, 24, 24)


def boxes(*corners, side=5):
    """Mask with a box of side 5 at each corner."""
    mask = np.zeros(SHAPE, bool)
    for plane, row, column in corners:
        mask[plane : plane + side, row : row + side, column : column + side] = True
    return mask


def test_found_missed_and_false_lesions():
    reference = boxes((0, 0, 0), (0, 10, 10))
    prediction = boxes((0, 1, 0), (6, 18, 0), (6, 0, 18))
    assert count_lesions(prediction, reference, 0.001) == LesionCounts(2, 1, 3, 2)


def test_a_touching_corner_finds_nothing():
    # One of 125 voxels.
    assert count_lesions(boxes((4, 4, 4)), boxes((0, 0, 0)), 0.001) == LesionCounts(1, 0, 1, 1)


def test_specks_do_not_count():
    reference = boxes((0, 0, 0)) | boxes((8, 20, 20), side=3)  # 27 voxels
    assert count_lesions(reference, reference, 0.001).lesions == 1
    assert count_lesions(reference, reference, 0.01).lesions == 2


def test_voxels_that_share_a_corner_are_one_lesion():
    mask = boxes((0, 0, 0), (5, 5, 5))
    assert count_lesions(mask, mask, 0.001) == LesionCounts(1, 1, 1, 0)


def test_nothing_to_count():
    empty = np.zeros(SHAPE, bool)
    assert count_lesions(empty, empty, 0.001) == LesionCounts(0, 0, 0, 0)
    assert count_lesions(empty, boxes((0, 0, 0)), 0.001) == LesionCounts(1, 0, 0, 0)
    assert count_lesions(boxes((0, 0, 0)), empty, 0.001) == LesionCounts(0, 0, 1, 1)
