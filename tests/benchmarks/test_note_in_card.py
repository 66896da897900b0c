"""Figures of real scans in a model's card."""

import json

import pytest

from benchmarks.note_in_card import main
from clisc_nnunet.io.hashing import file_sha256


@pytest.fixture
def cards(tmp_path):
    (tmp_path / "sam.json").write_text('{"name": "sam", "sha256": "abc", "seed": 0}')
    return tmp_path


def note(cards, figures, name="brats", looked="12"):
    (cards / "figures.json").write_text(json.dumps(figures))
    call = ["sam", str(cards / "figures.json"), "--on", name, "--command", "python -m x"]
    return main([*call, "--looked", looked, "--cards", str(cards)])


def test_notes_stand_beside_each_other_and_replace_older_ones(cards):
    assert note(cards, {"dice": 0.5}) == 0
    assert note(cards, {"dice": 0.25}, "lgg", "13") == 0
    assert note(cards, {"dice": 0.75}, looked="14") == 0
    card = json.loads((cards / "sam.json").read_text())
    assert card["seed"] == 0
    told = card["real_scans"]
    assert told["looked_at_while_developing"] == 14
    assert told["brats"]["figures"] == {"dice": 0.75}
    assert told["lgg"] == {
        "command": "python -m x", "weights_sha256": "abc", "figures": {"dice": 0.25},
    }  # fmt: skip


@pytest.mark.parametrize("content", ["[1, 2]", "{", None])
def test_what_is_no_json_object_is_told_and_nothing_changes(cards, capsys, content):
    before = file_sha256(cards / "sam.json")
    if content is not None:
        (cards / "figures.json").write_text(content)
    call = ["sam", str(cards / "figures.json"), "--on", "x", "--command", "y", "--looked", "1"]
    assert main([*call, "--cards", str(cards)]) == 2
    assert "figures.json" in capsys.readouterr().err
    assert file_sha256(cards / "sam.json") == before
