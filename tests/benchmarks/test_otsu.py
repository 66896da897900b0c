import numpy as np

from benchmarks.otsu import brightest_class


def test_the_bright_blob_is_found(head):
    volume, blob = head
    found = brightest_class(volume.array, volume.array != 0)
    assert 2 * (found & blob).sum() / (found.sum() + blob.sum()) > 0.9


def test_only_the_largest_piece_stays(head):
    volume, _ = head
    array = volume.array.copy()
    array[20:24, 30:34, 25:29] = 200
    assert not brightest_class(array, array != 0)[20:24, 30:34, 25:29].any()
    assert np.count_nonzero(brightest_class(array, array != 0)) > 500
