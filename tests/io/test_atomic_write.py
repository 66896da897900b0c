import errno
import json
import os
import pickle
import resource
import signal

import numpy as np
import pytest

from clisc_nnunet.errors import EXIT_CANNOT_WRITE, StorageError, UserError
from clisc_nnunet.io.atomic_write import atomic_file, storage_error, write_json
from clisc_nnunet.io.volume import Geometry, write_volume
from clisc_nnunet.pipeline.result_cache import ResultCache

GRID = Geometry((100, 100, 30), (1, 1, 1), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
NOISE = np.random.default_rng(0).random(GRID.shape).astype(np.float32)


def test_a_file_is_replaced_once_it_is_complete(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_file(path) as temporary:
        temporary.write_text("one")
        assert not path.exists()
        assert temporary.name.endswith("a.txt")
    assert path.read_text() == "one"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_keeps_the_earlier_file(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    with pytest.raises(KeyError), atomic_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("two")
        raise KeyError
    assert [p.read_text() for p in tmp_path.iterdir()] == ["one"]


def test_two_writers_use_different_temporary_files(tmp_path):
    with atomic_file(tmp_path / "a") as first, atomic_file(tmp_path / "a") as second:
        assert first != second
        first.touch(), second.touch()


def test_content_and_name_reach_the_disk_in_order(tmp_path, monkeypatch):
    calls = []

    def watch(name):
        original = getattr(os, name)

        def call(*args):
            calls.append(name)
            return original(*args)

        monkeypatch.setattr(os, name, call)

    watch("fsync"), watch("replace")
    with atomic_file(tmp_path / "a") as temporary:
        temporary.write_text("one")
    assert calls == ["fsync", "replace", "fsync"]  # the file, its name, the folder


@pytest.fixture
def little_room():
    """Limit files to 64 kB: writes fail with an OSError, as on a full disk."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.mha", "a.npz"])
def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path, little_room, name):
    with pytest.raises(StorageError, match=r"File too large.*free space"):
        if name == "a.npz":
            ResultCache(tmp_path).save("case", "a", "signed", {"noise": NOISE})
        else:
            write_volume(tmp_path / "case" / name, NOISE, GRID)
    assert list((tmp_path / "case").iterdir()) == []


def test_only_disk_errors_are_storage_errors():
    full = storage_error(OSError(errno.ENOSPC, "No space left on device", "/data/x"))
    assert full is not None and full.exit_status == EXIT_CANNOT_WRITE
    assert str(full).startswith("/data/x: found No space left on device (errno 28)")
    assert str(pickle.loads(pickle.dumps(full))) == str(full)
    assert storage_error(FileNotFoundError(errno.ENOENT, "no such file")) is None


def test_json_with_the_same_content_is_kept(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"b": [1]}, overwrite=False)
    write_json(path, {"b": [1]}, overwrite=False)
    assert json.loads(path.read_text()) == {"b": [1]}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_other_json_is_replaced_only_on_request(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"b": 1}, overwrite=False)
    with pytest.raises(UserError, match="found a file with other content"):
        write_json(path, {"b": 2}, overwrite=False)
    assert json.loads(path.read_text()) == {"b": 1}
    write_json(path, {"b": 2}, overwrite=True)
    assert json.loads(path.read_text()) == {"b": 2}
