import os

import numpy as np
import pytest

from clisc_nnunet.io.atomic_write import write_text
from clisc_nnunet.pipeline.result_cache import Fingerprint, ResultCache, sign
from clisc_nnunet.settings import RoiSettings


def test_signature_depends_on_every_part():
    first = sign("stage", RoiSettings(), ["a", 1])
    assert first == sign("stage", RoiSettings(), ["a", 1])
    assert first != sign("stage", RoiSettings(threshold=0.2), ["a", 1])
    assert first != sign("stage", RoiSettings(), ["a", 2])
    assert sign([RoiSettings()]) != sign([RoiSettings(opening=False)])


def test_a_result_is_kept_under_its_signature(tmp_path):
    cache, fingerprint = ResultCache(tmp_path), Fingerprint("scan", RoiSettings(), "weights")
    assert cache.mismatch("case", "stage", fingerprint) == ""
    cache.save("case", "stage", fingerprint, {"values": np.arange(3)})
    assert cache.mismatch("case", "stage", fingerprint) is None
    kept = cache.load("case", "stage", fingerprint.signature)
    assert {key: value.tolist() for key, value in kept.items()} == {"values": [0, 1, 2]}
    assert cache.load("case", "stage", "other") is None


@pytest.mark.parametrize(
    ("fingerprint", "expected"),
    [
        (
            Fingerprint("scan", RoiSettings(threshold=0.2), "w"),
            "settings threshold: 0.2, before 0.0",
        ),
        (Fingerprint("other", RoiSettings(), "w"), "other inputs"),
        (Fingerprint("scan", RoiSettings(), "v"), "other weights"),
        (Fingerprint("other", RoiSettings(), "v"), "other weights, other inputs"),
    ],
)
def test_what_changed_is_reported(tmp_path, fingerprint, expected):
    cache = ResultCache(tmp_path)
    cache.save("case", "stage", Fingerprint("scan", RoiSettings(), "w"), {"values": np.arange(3)})
    assert cache.mismatch("case", "stage", fingerprint) == expected


def test_another_version_of_the_code_is_reported(tmp_path, monkeypatch):
    cache, fingerprint = ResultCache(tmp_path), Fingerprint("scan")
    cache.save("case", "stage", fingerprint, {"values": np.arange(3)})
    monkeypatch.setattr("clisc_nnunet.pipeline.result_cache.FORMAT", 99)
    assert cache.mismatch("case", "stage", fingerprint) == "other code"


def test_a_damaged_file_is_reported(tmp_path):
    cache = ResultCache(tmp_path)
    cache.save("case", "stage", Fingerprint("scan"), {"values": np.arange(3)})
    cache.path("case", "stage").write_bytes(b"PK")
    assert cache.mismatch("case", "stage", Fingerprint("scan")) == "a damaged file"


def test_records_are_read_back_and_forgotten(tmp_path):
    cache = ResultCache(tmp_path)
    assert cache.read_record("case", "failure") == {}
    cache.write_record("case", "failure", {"reason": "x"})
    assert cache.read_record("case", "failure") == {"reason": "x"}
    assert cache.cases_with("failure.json") == ["case"]
    cache.forget_record("case", "failure")
    assert cache.read_record("case", "failure") == {}


def test_leftovers_go_only_when_they_are_old(tmp_path):
    old, young = tmp_path / "case" / ".1.slices.npz", tmp_path / "case" / ".2.slices.npz"
    old.parent.mkdir()
    for path in (old, young):
        path.touch()
    os.utime(old, (0, 0))
    ResultCache(tmp_path).remove_leftovers()
    assert list(old.parent.iterdir()) == [young]


@pytest.mark.parametrize("keep", [0, 10, 100])
def test_a_truncated_result_counts_as_absent(tmp_path, keep):
    cache = ResultCache(tmp_path)
    cache.save("case", "stage", "abc", {"values": np.arange(100)})
    path = cache.path("case", "stage")
    path.write_bytes(path.read_bytes()[:keep])
    assert cache.load("case", "stage", "abc") is None
    with pytest.raises(RuntimeError, match="removed or changed"):
        cache.require("case", "stage", "abc")


def test_a_damaged_result_counts_as_absent_unless_it_is_still_the_same(tmp_path):
    cache, values = ResultCache(tmp_path), np.arange(20)
    cache.save("case", "stage", "abc", {"values": values})
    content = cache.path("case", "stage").read_bytes()
    found = 0
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1
        cache.path("case", "stage").write_bytes(bytes(damaged))
        kept = cache.load("case", "stage", "abc")
        found += kept is None
        assert kept is None or np.array_equal(kept["values"], values)
    assert found > len(content) / 2  # the other bytes are dates and the like


def test_a_failed_save_leaves_the_earlier_result(tmp_path):
    cache = ResultCache(tmp_path)
    cache.save("case", "stage", "abc", {"values": np.arange(3)})
    with pytest.raises(ValueError, match="inhomogeneous"):
        cache.save("case", "stage", "other", {"values": [[1], [2, 3]]})
    assert cache.require("case", "stage", "abc")["values"].tolist() == [0, 1, 2]


def test_nothing_half_written_is_left(tmp_path):
    cache = ResultCache(tmp_path)

    class Broken:
        def __array__(self, *_, **__):
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        cache.save("case", "stage", "abc", {"values": Broken()})
    assert list((tmp_path / "case").iterdir()) == []


def test_text_is_replaced_atomically(tmp_path):
    write_text(tmp_path / "a" / "b.txt", "one")
    write_text(tmp_path / "a" / "b.txt", "two")
    assert [p.read_text() for p in (tmp_path / "a").iterdir()] == ["two"]
