import os

import numpy as np
import pytest

from clisc_nnunet.io.atomic_write import write_text
from clisc_nnunet.pipeline.result_cache import Recipe, Store, sign
from clisc_nnunet.settings import RoiSettings


def test_signature_depends_on_every_part():
    first = sign("stage", RoiSettings(), ["a", 1])
    assert first == sign("stage", RoiSettings(), ["a", 1])
    assert first != sign("stage", RoiSettings(threshold=0.2), ["a", 1])
    assert first != sign("stage", RoiSettings(), ["a", 2])
    assert sign([RoiSettings()]) != sign([RoiSettings(opening=False)])


def test_a_result_is_kept_under_its_signature(tmp_path):
    store, recipe = Store(tmp_path), Recipe("scan", RoiSettings(), "weights")
    assert store.mismatch("case", "stage", recipe) == ""
    store.save("case", "stage", recipe, {"values": np.arange(3)})
    assert store.mismatch("case", "stage", recipe) is None
    kept = store.load("case", "stage", recipe.signature)
    assert {key: value.tolist() for key, value in kept.items()} == {"values": [0, 1, 2]}
    assert store.load("case", "stage", "other") is None


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        (Recipe("scan", RoiSettings(threshold=0.2), "w"), "settings threshold: 0.2, before 0.0"),
        (Recipe("other", RoiSettings(), "w"), "other inputs"),
        (Recipe("scan", RoiSettings(), "v"), "other weights"),
        (Recipe("other", RoiSettings(), "v"), "other weights, other inputs"),
    ],
)
def test_what_changed_is_told(tmp_path, recipe, told):
    store = Store(tmp_path)
    store.save("case", "stage", Recipe("scan", RoiSettings(), "w"), {"values": np.arange(3)})
    assert store.mismatch("case", "stage", recipe) == told


def test_another_version_of_the_code_is_told(tmp_path, monkeypatch):
    store, recipe = Store(tmp_path), Recipe("scan")
    store.save("case", "stage", recipe, {"values": np.arange(3)})
    monkeypatch.setattr("clisc_nnunet.pipeline.result_cache.FORMAT", 99)
    assert store.mismatch("case", "stage", recipe) == "other code"


def test_a_damaged_file_is_told(tmp_path):
    store = Store(tmp_path)
    store.save("case", "stage", Recipe("scan"), {"values": np.arange(3)})
    store.path("case", "stage").write_bytes(b"PK")
    assert store.mismatch("case", "stage", Recipe("scan")) == "a damaged file"


def test_records_are_read_back_and_forgotten(tmp_path):
    store = Store(tmp_path)
    assert store.read_record("case", "failure") == {}
    store.write_record("case", "failure", {"reason": "x"})
    assert store.read_record("case", "failure") == {"reason": "x"}
    assert store.cases_with("failure.json") == ["case"]
    store.forget_record("case", "failure")
    assert store.read_record("case", "failure") == {}


def test_leftovers_go_only_when_they_are_nobodys(tmp_path):
    old, young = tmp_path / "case" / ".1.slices.npz", tmp_path / "case" / ".2.slices.npz"
    old.parent.mkdir()
    for path in (old, young):
        path.touch()
    os.utime(old, (0, 0))
    Store(tmp_path).remove_leftovers()
    assert list(old.parent.iterdir()) == [young]


@pytest.mark.parametrize("keep", [0, 10, 100])
def test_a_truncated_result_counts_as_absent(tmp_path, keep):
    store = Store(tmp_path)
    store.save("case", "stage", "abc", {"values": np.arange(100)})
    path = store.path("case", "stage")
    path.write_bytes(path.read_bytes()[:keep])
    assert store.load("case", "stage", "abc") is None
    with pytest.raises(RuntimeError, match="is gone or was changed"):
        store.require("case", "stage", "abc")


def test_a_damaged_result_counts_as_absent_unless_it_is_still_the_same(tmp_path):
    store, values = Store(tmp_path), np.arange(20)
    store.save("case", "stage", "abc", {"values": values})
    whole = store.path("case", "stage").read_bytes()
    found = 0
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        store.path("case", "stage").write_bytes(bytes(damaged))
        kept = store.load("case", "stage", "abc")
        found += kept is None
        assert kept is None or np.array_equal(kept["values"], values)
    assert found > len(whole) / 2  # the rest are dates and the like


def test_a_failed_save_leaves_the_earlier_result(tmp_path):
    store = Store(tmp_path)
    store.save("case", "stage", "abc", {"values": np.arange(3)})
    with pytest.raises(ValueError, match="inhomogeneous"):
        store.save("case", "stage", "other", {"values": [[1], [2, 3]]})
    assert store.require("case", "stage", "abc")["values"].tolist() == [0, 1, 2]


def test_nothing_half_written_is_left(tmp_path):
    store = Store(tmp_path)

    class Broken:
        def __array__(self, *_, **__):
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        store.save("case", "stage", "abc", {"values": Broken()})
    assert list((tmp_path / "case").iterdir()) == []


def test_text_is_replaced_whole(tmp_path):
    write_text(tmp_path / "a" / "b.txt", "one")
    write_text(tmp_path / "a" / "b.txt", "two")
    assert [p.read_text() for p in (tmp_path / "a").iterdir()] == ["two"]
