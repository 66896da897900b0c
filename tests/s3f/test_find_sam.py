"""The SAM of the labels, of which dataset.json has name and hash, on this machine."""

import json

import pytest

from clisc_nnunet.errors import UserError
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.s3f.dataset_sam import find_sam


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights" / "mine.pth"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working directory of its own."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def noted(path, like=""):
    return {"name": f"{like}{path.name}", "sha256": file_sha256(path)}


def recorded(tmp_path, name):
    """A `clisc` folder whose run was made with this SAM."""
    folder = tmp_path / "clisc"
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"models": {"sam": {"name": str(name)}}}))
    return folder


@pytest.mark.parametrize("name", ["bundled", "sam_vit_b", "medsam"])
def test_names_stay(name, elsewhere):
    assert find_sam({"name": name, "sha256": "f00d"}, [], "--sam ") == name


@pytest.mark.parametrize("nothing", [{}, {"name": ""}, {"name": None}])
def test_a_dataset_that_names_none_gets_the_bundled_one(nothing):
    assert find_sam(nothing, [], "--sam ") == "bundled"


@pytest.mark.parametrize("like", ["", "medsam="])
def test_a_file_is_found_where_the_converter_had_it(weights, tmp_path, elsewhere, like):
    folder = recorded(tmp_path, f"{like}{weights}")
    found = find_sam(noted(weights, like), [tmp_path / "none", folder], "--sam ")
    assert found == f"{like}{weights}"


def test_a_record_of_the_same_file_taken_for_another_model_is_none(weights, tmp_path, elsewhere):
    folder = recorded(tmp_path, f"medsam={weights}")
    with pytest.raises(UserError, match="found no such file"):
        find_sam(noted(weights), [folder], "--sam ")


def test_a_file_of_another_hash_is_another_sam(weights, tmp_path, elsewhere):
    told, folder = noted(weights), recorded(tmp_path, weights)
    weights.write_bytes(b"others")
    (elsewhere / "mine.pth").write_bytes(b"still others")
    with pytest.raises(UserError) as caught:
        find_sam(told, [folder], "CLISC_SAM=")
    assert str(caught.value) == (
        f"dataset.json: clisc: sam: mine.pth: found another file under this name ({weights}, "
        f"mine.pth); expected the SAM that made the labels, sha256 {told['sha256'][:12]}...; "
        "set its path: CLISC_SAM=FILE"
    )
    (elsewhere / "mine.pth").write_bytes(b"weights")
    assert find_sam(told, [folder], "CLISC_SAM=") == "mine.pth"


def test_the_hint_says_what_the_file_is_to_be_taken_for(weights, elsewhere):
    with pytest.raises(UserError, match=r"--sam medsam=FILE$"):
        find_sam(noted(weights, "medsam="), [], "--sam ")


def test_a_path_that_an_earlier_version_recorded_is_tried(weights, elsewhere):
    told = {"name": f"medsam={weights}", "sha256": file_sha256(weights)}
    assert find_sam(told, [], "--sam ") == told["name"]
    with pytest.raises(UserError, match=r"sam: medsam=mine\.pth: found another file"):
        find_sam(told | {"sha256": "f00d"}, [], "--sam ")


def test_a_file_without_a_recorded_hash_is_the_users_own_choice(weights, elsewhere):
    assert find_sam({"name": str(weights)}, [], "--sam ") == str(weights)


@pytest.mark.parametrize("text", ["", "[]", '{"models": 3}', '{"models": {"sam": {}}}'])
def test_a_record_of_something_else_says_nothing(weights, tmp_path, elsewhere, text):
    folder = recorded(tmp_path, weights)
    (folder / "run.json").write_text(text)
    with pytest.raises(UserError, match="found no such file"):
        find_sam(noted(weights), [folder], "--sam ")
