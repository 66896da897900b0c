from types import SimpleNamespace

import numpy as np

from clisc_nnunet.stages.classifier_training import TrainingSlices

EXAMPLES = [("a", 0, 1), ("a", 2, 0), ("b", 1, 1)]


def plain(case):
    return SimpleNamespace(pixels=np.arange(3) + (10 if case == "b" else 0))


def masked(case):
    return -plain(case).pixels


def test_slices_are_indexed_by_case_and_plane():
    slices = TrainingSlices(EXAMPLES, plain)
    assert [slices[i] for i in range(len(slices))] == [0, 2, 11]


def test_masked_slices_replace_or_precede_plain_ones():
    assert [TrainingSlices(EXAMPLES, plain, masked)[i] for i in range(3)] == [0, -2, -11]
    both = TrainingSlices(EXAMPLES, plain, masked, keep_plain=True)
    assert [both[i] for i in range(len(both))] == [0, -2, -11, 0, 2, 11]


def test_a_case_is_masked_once():
    asked = []
    slices = TrainingSlices(EXAMPLES, plain, lambda case: asked.append(case) or masked(case))
    for index in (0, 1, 2, 0):
        slices[index]
    assert asked == ["a", "b"]
