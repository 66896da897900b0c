import numpy as np
import pytest

from benchmarks.many_cases import disk_mb, figures, variation


def test_a_variation_is_another_scan_of_the_same_head():
    array = np.zeros((4, 6, 8), np.float32)
    array[1:3, 2:5, 1:4] = 100
    made = [variation(array, np.random.default_rng([0, n])) for n in range(8)]
    for scan in made:
        assert (scan != 0).sum() == (array != 0).sum()
        assert scan.dtype == np.float32
    assert len({scan.tobytes() for scan in made}) == 8
    assert {bool(scan[1, 3, 6]) for scan in made} == {True, False}  # mirrored or not
    again = variation(array, np.random.default_rng([0, 3]))
    assert np.array_equal(again, made[3])


def test_what_is_done_once_is_not_multiplied():
    seconds = {"slices": 10.0, "raw classifier": 50.0, "raw choice": 40.0, "total": 120.0}
    found = figures(10, seconds, 1.5, 30.0)
    assert (found["seconds_per_case"], found["seconds_once"]) == (3.0, 90.0)
    assert found["reckoned"]["hours"] == pytest.approx((3 * 10_000 + 90) / 3600, abs=0.06)
    assert found["reckoned"]["gb"] == 30.0


def test_disk_counts_links_as_links(tmp_path):
    (tmp_path / "a").write_bytes(bytes(2_000_000))
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert disk_mb(tmp_path) == pytest.approx(2.0, abs=0.001)
