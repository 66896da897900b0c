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
        cases=SimpleNamespace(
            dataset=SimpleNamespace(load_case=lambda case: (data, seg, None, {}))
        ),
        plan=SimpleNamespace(transpose_backward=(0, 1, 2)),
    )
    dataset_sam = SimpleNamespace(channel=channel, slices=None, kept=None)
    with pytest.raises(Seen) as caught:
        filter_round._case_agreement(due, dataset_sam, "a")
    assert np.array_equal(caught.value.args[0], data[channel])


@pytest.mark.parametrize("found", ["the kept slices", None])
def test_sam_sees_the_slices_that_were_kept_if_there_are_some(monkeypatch, found):
    asked = []

    def show(image, inside, properties, back, settings, kept):
        raise Seen(kept)

    def find(case, scan):
        asked.append((case, scan))
        return found

    monkeypatch.setattr(filter_round, "PreprocessedCase", show)
    monkeypatch.setattr(filter_round, "scan_geometry", lambda properties, back: "its grid")
    data, seg = np.zeros((1, 4, 5, 6), np.float32), np.zeros((1, 4, 5, 6), np.int8)
    due = SimpleNamespace(
        cases=SimpleNamespace(
            dataset=SimpleNamespace(load_case=lambda case: (data, seg, None, {}))
        ),
        plan=SimpleNamespace(transpose_backward=(0, 1, 2)),
    )
    dataset_sam = SimpleNamespace(channel=0, slices=None, kept=SimpleNamespace(find=find))
    with pytest.raises(Seen) as caught:
        filter_round._case_agreement(due, dataset_sam, "a")
    assert caught.value.args == (found,)
    assert asked == [("a", "its grid")]


def test_cases_without_stored_slices_are_logged():
    def line(*kept):
        return filter_round.slices_note({"cases": dict(enumerate(kept))})

    assert line({"kept_slices": True}, {"kept_slices": True}) == ""
    assert "1 of 2 cases" in line({"kept_slices": True}, {"kept_slices": False})
    assert "1 of 1 cases" in line({})  # a round of an earlier version
