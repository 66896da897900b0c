"""What a round shows to SAM."""

from types import SimpleNamespace

import numpy as np
import pytest

from clisc_nnunet.trainers import filter_round


class Seen(Exception):
    """Carries what was shown."""


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_sam_sees_the_prompt_channel(monkeypatch, channel):
    data = np.stack([np.full((4, 5, 6), float(n), np.float32) for n in range(3)])
    seg = np.zeros((1, 4, 5, 6), np.int8)

    def show(image, inside, *_):
        raise Seen(image)

    monkeypatch.setattr(filter_round, "PreprocessedCase", show)
    due = SimpleNamespace(
        dataset=SimpleNamespace(load_case=lambda case: (data, seg, None, {})),
        transpose_backward=(0, 1, 2),
    )
    judge = SimpleNamespace(channel=channel, slices=None)
    with pytest.raises(Seen) as caught:
        filter_round._judge_case(due, judge, "a")
    assert np.array_equal(caught.value.args[0], data[channel])
