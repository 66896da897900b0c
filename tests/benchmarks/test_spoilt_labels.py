import json

import numpy as np
import pytest

from benchmarks.spoilt_labels import KINDS, choose_corrupted_cases, corrupt, main
from clisc_nnunet.io.volume import read_mask, write_volume
from clisc_nnunet.metrics import dice


@pytest.fixture
def case():
    """A brain, a tumour to one side of it, and another case's tumour on another grid."""
    at = np.indices((24, 30, 28))
    brain = (((at - np.array([12, 15, 14]).reshape(3, 1, 1, 1)) / 11) ** 2).sum(0) < 1
    label = (((at - np.array([12, 17, 9]).reshape(3, 1, 1, 1)) / 4) ** 2).sum(0) < 1
    other = np.zeros((20, 40, 28), bool)
    other[8:12, 10:14, 16:20] = True
    return label & brain, brain, other


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_spoils_the_label_inside_of_the_brain(case, kind):
    label, brain, other = case
    before = label.copy()
    wrong = corrupt(label, brain, other, kind, np.random.default_rng(0))
    assert wrong.shape == label.shape and wrong.dtype == bool
    assert dice(wrong, label) < 0.75
    assert not wrong[~brain].any()
    assert np.array_equal(label, before)


def test_the_kinds_are_what_they_are_called(case):
    label, brain, other = case
    spoilt = {kind: corrupt(label, brain, other, kind, np.random.default_rng(1)) for kind in KINDS}
    assert not spoilt["empty"].any()
    assert np.array_equal(spoilt["elsewhere"], label[:, :, ::-1] & brain)
    assert 0.3 < spoilt["half"].sum() / label.sum() < 0.7 and not (spoilt["half"] & ~label).any()
    assert 2.5 < spoilt["inflated"].sum() / label.sum() < 3.5
    assert (label & ~spoilt["inflated"]).sum() == 0
    assert np.array_equal(spoilt["other case"][8:12, 10:14, 16:20], brain[8:12, 10:14, 16:20])


def test_an_unknown_kind_is_refused(case):
    with pytest.raises(ValueError, match="kind 'upside down'"):
        corrupt(*case, "upside down", np.random.default_rng(0))


def test_the_share_is_met_and_the_seed_decides():
    cases = [f"case_{k}" for k in range(30)]
    first, again = (choose_corrupted_cases(cases, 0.3, np.random.default_rng(5)) for _ in range(2))
    assert first == again
    assert len(first) == 9 and set(first) <= set(cases)
    assert set(first.values()) == set(KINDS)
    assert first != choose_corrupted_cases(cases, 0.3, np.random.default_rng(6))


def test_a_folder_of_them_and_which_they_are(head, tmp_path, capsys, monkeypatch):
    # The first case, too, has another one's label.
    monkeypatch.setattr("benchmarks.spoilt_labels.KINDS", ("other case",))
    volume, blob = head
    labels = {"a": blob, "b": np.roll(blob, 6, axis=0), "c": np.roll(blob, -6, axis=0)}
    for name, label in labels.items():
        write_volume(tmp_path / "images" / f"{name}.nii.gz", volume.array, volume.geometry)
        write_volume(tmp_path / "labels" / f"{name}.nii.gz", label, volume.geometry)
    folders = ["-i", str(tmp_path / "images"), "-r", str(tmp_path / "labels")]
    for share, count in (("0.67", 2), ("1", 3)):
        out = tmp_path / share
        assert main([*folders, "-o", str(out), "--share", share]) == 0
        assert f"3 labels in {out}, {count} of them corrupted" in capsys.readouterr().out
        kinds = json.loads((out / "spoilt.json").read_text())
        assert len(kinds) == count
        for name, label in labels.items():
            same = np.array_equal(read_mask(out / f"{name}.nii.gz", volume.geometry), label)
            assert same == (name not in kinds)
