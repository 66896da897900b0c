import numpy as np
import pytest

from clisc_nnunet.evaluation.bootstrap import mean_interval

VALUES = np.random.default_rng(0).normal(0.8, 0.1, 60)


def test_close_to_the_normal_interval_of_a_mean():
    low, high = mean_interval(VALUES, 0)
    half = 1.96 * VALUES.std(ddof=1) / np.sqrt(len(VALUES))
    assert low == pytest.approx(VALUES.mean() - half, abs=0.004)
    assert high == pytest.approx(VALUES.mean() + half, abs=0.004)


def test_the_seed_decides():
    assert mean_interval(VALUES, 1) == mean_interval(VALUES, 1)
    assert mean_interval(VALUES, 1) != mean_interval(VALUES, 2)


def test_equal_values_have_no_width():
    assert mean_interval(np.full(5, 0.5), 0) == (0.5, 0.5)


@pytest.mark.parametrize("n", [0, 1])
def test_less_than_two_say_nothing(n):
    assert np.isnan(mean_interval(np.ones(n), 0)).all()
