from __future__ import annotations

import json

import pytest

from clisc_nnunet.errors import UserError
from clisc_nnunet.io.atomic_write import write_json


def test_writes_and_keeps_what_is_there(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"b": [1]}, overwrite=False)
    write_json(path, {"b": [1]}, overwrite=False)
    assert json.loads(path.read_text()) == {"b": [1]}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_replaces_only_on_request(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"b": 1}, overwrite=False)
    with pytest.raises(UserError, match="found a file with other content"):
        write_json(path, {"b": 2}, overwrite=False)
    assert json.loads(path.read_text()) == {"b": 1}
    write_json(path, {"b": 2}, overwrite=True)
    assert json.loads(path.read_text()) == {"b": 2}
