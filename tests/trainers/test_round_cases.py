"""What the judge and SAM are shown in a round."""

from types import SimpleNamespace

import numpy as np
import pytest

from clisc_nnunet.trainers import round_cases
from clisc_nnunet.trainers.round_cases import CaseLoader, LoadedCase


@pytest.fixture
def data():
    return np.stack([np.full((4, 5, 6), float(n), np.float32) for n in range(3)])


@pytest.fixture
def dataset(data):
    seg = np.zeros((1, 4, 5, 6), np.int8)
    seg[0, 0], seg[0, 1] = -1, 1
    return SimpleNamespace(load_case=lambda case: (data, seg, None, {"of": case}))


@pytest.fixture
def shown(monkeypatch):
    """Arguments of each view that was made."""
    made = []
    monkeypatch.setattr(round_cases, "PreprocessedCase", lambda *given: made.append(given))
    monkeypatch.setattr(round_cases, "scan_geometry", lambda properties, back: "its grid")
    return made


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_the_view_has_the_channel_of_the_labels(dataset, data, shown, channel):
    loaded = CaseLoader(dataset, (0, 1, 2), channel, None, None).load("a")
    image, inside, properties, back, _, kept = shown[0]
    assert np.array_equal(image, data[channel])
    assert np.array_equal(inside, loaded.inside)
    assert (properties, back, kept) == ({"of": "a"}, (0, 1, 2), None)
    assert not loaded.has_kept_slices


@pytest.mark.parametrize("found", ["the kept slices", None])
def test_slices_that_were_kept_are_used_if_there_are_some(dataset, shown, found):
    asked = []

    def find(case, scan):
        asked.append((case, scan))
        return found

    loaded = CaseLoader(dataset, (0, 1, 2), 0, None, SimpleNamespace(find=find)).load("a")
    assert shown[0][-1] == found
    assert loaded.has_kept_slices == (found is not None)
    assert asked == [("a", "its grid")]


def test_a_label_has_tumour_and_outside(dataset, shown):
    loader = CaseLoader(dataset, (0, 1, 2), 0, None, None)
    loaded = loader.load("a")
    assert isinstance(loaded, LoadedCase)
    assert np.array_equal(loader.label("a"), loaded.label)
    assert loaded.tumour[1].all() and not loaded.tumour[2:].any()
    assert not loaded.inside[0].any() and loaded.inside[1:].all()
