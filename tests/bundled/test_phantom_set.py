"""Phantoms of the bundled models, as files."""

from itertools import chain

import numpy as np
import pytest

from clisc_nnunet.bundled.phantom_set import (
    HELD_OUT_SEEDS,
    load_heads,
    load_volumes,
    make_phantom_set,
    make_recipe,
    read_recipe,
    record_recipe,
)
from clisc_nnunet.bundled.train import main
from clisc_nnunet.errors import UserError
from clisc_nnunet.phantoms.anatomy import mni152_anatomy
from clisc_nnunet.phantoms.phantom import GENERATOR_VERSION
from clisc_nnunet.phantoms.settings import HEADS, UNSEEN_KINDS, PhantomSettings

KINDS_DRAWN = [PhantomSettings(), UNSEEN_KINDS, HEADS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    mni = [mni152_anatomy(5.0)]
    make_phantom_set(folder, [0, 1, HELD_OUT_SEEDS.start], mni, PhantomSettings(), 1)
    make_phantom_set(folder, [0], mni, HEADS, 1, "head")
    return folder


def test_training_sees_no_phantom_that_is_held_out(folder):
    assert len(load_volumes(folder)) == 2
    (kept,) = load_volumes(folder, [HELD_OUT_SEEDS.start])
    assert not any(np.array_equal(kept.pixels, v.pixels) for v in load_volumes(folder))


def test_volumes_and_heads_are_restored(folder):
    for volume in load_volumes(folder):
        assert volume.pixels.dtype == np.uint8
        assert volume.tumour.shape == volume.pixels.shape
        assert not (volume.tumour & (volume.pixels == 0)).any()
    (head,) = load_heads(folder)
    assert head.brain.dtype == bool
    # The 95th percentile of the head is 100, whatever its units.
    assert 50 < np.median(head.values[head.brain]) <= 105


def test_a_set_is_continued_not_recomputed(folder):
    path = folder / "phantom_000001.npz"
    before = path.stat().st_mtime_ns
    (folder / "phantom_000000.npz").rename(folder / "aside.npz")
    make_phantom_set(folder, [0, 1], [mni152_anatomy(5.0)], PhantomSettings(), 1)
    assert path.stat().st_mtime_ns == before
    with np.load(folder / "aside.npz") as old, np.load(folder / "phantom_000000.npz") as new:
        assert np.array_equal(old["pixels"], new["pixels"])


def test_a_phantom_that_is_missing_is_named(folder):
    with pytest.raises(UserError, match=r"no phantom_000777\.npz"):
        load_volumes(folder, [777])


def test_the_recipe_names_every_label_map_by_its_hash_and_the_drawing(tmp_path):
    (tmp_path / "brainweb_made_up.nii.gz").write_bytes(b"labels")
    first = make_recipe(tmp_path, [PhantomSettings()])
    assert list(first["anatomies"]) == ["brainweb_made_up.nii.gz"]
    second = make_recipe(None, [HEADS])
    assert "MNI152" in second["anatomies"]
    assert first["phantom_settings_sha256"] != second["phantom_settings_sha256"]
    assert first["drawing"] == second["drawing"] == GENERATOR_VERSION


@pytest.fixture
def phantoms(tmp_path, monkeypatch):
    """Calls the command, whose phantoms are empty files, with two label maps at hand."""
    (tmp_path / "MAPS").mkdir()
    for name in ("brainweb_1.nii.gz", "brainweb_2.nii.gz"):
        (tmp_path / "MAPS" / name).write_bytes(name.encode())
    monkeypatch.setattr("clisc_nnunet.phantoms.anatomy.load_anatomies", lambda *_: [None] * 2)
    monkeypatch.setattr("clisc_nnunet.phantoms.anatomy.mni152_anatomy", lambda *_: None)

    def make(folder, seeds, anatomies, settings, processes, kind="phantom"):
        assert (folder / "recipe.json").exists()
        for seed in seeds:
            (folder / f"{kind}_{seed:06d}.npz").touch()

    monkeypatch.setattr("clisc_nnunet.bundled.phantom_set.make_phantom_set", make)

    def call(*options):
        return main(["phantoms", "-o", str(tmp_path / "SET"), *map(str, options)])

    return call


def test_held_out_phantoms_may_be_of_other_anatomies(phantoms, tmp_path):
    maps = make_recipe(tmp_path / "MAPS", KINDS_DRAWN)
    assert phantoms("-n", 0, "--heads", 0, "--anatomy", tmp_path / "MAPS") == 0
    assert read_recipe(tmp_path / "SET") == {"kept_aside": maps}
    for count in (2, 3):
        assert phantoms("-n", count, "--heads", 0) == 0
        mni152 = make_recipe(None, KINDS_DRAWN)
        assert read_recipe(tmp_path / "SET") == {**mni152, "kept_aside": maps}
    # No training phantoms are made, so their recipe stays.
    assert phantoms("-n", 0, "--heads", 0, "--anatomy", tmp_path / "MAPS") == 0
    assert read_recipe(tmp_path / "SET") == {**mni152, "kept_aside": maps}


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("kind", ["-n", "--heads"])
def test_phantoms_of_another_recipe_are_refused(phantoms, tmp_path, capsys, kind, count):
    none = {"-n": 0, "--heads": 0}
    assert phantoms(*chain(*{**none, kind: 2}.items())) == 0
    before = read_recipe(tmp_path / "SET"), sorted((tmp_path / "SET").iterdir())
    again = {**none, kind: count, "--anatomy": tmp_path / "MAPS"}
    assert phantoms(*chain(*again.items())) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path / 'SET'}: found training phantoms: anatomies" in line
    assert "MNI152, as nilearn ships it" in line
    assert "expected anatomies with 2 entries" in line
    assert "another -o" in line
    assert (read_recipe(tmp_path / "SET"), sorted((tmp_path / "SET").iterdir())) == before


def test_phantoms_of_another_drawing_or_none_recorded_are_refused(
    phantoms, tmp_path, capsys, monkeypatch
):
    assert phantoms("-n", 2, "--heads", 0) == 0
    monkeypatch.setattr("clisc_nnunet.bundled.phantom_set.GENERATOR_VERSION", GENERATOR_VERSION + 1)
    assert phantoms("-n", 3, "--heads", 0) == 2
    err = capsys.readouterr().err
    assert f"drawing {GENERATOR_VERSION}; expected drawing {GENERATOR_VERSION + 1}" in err
    (tmp_path / "SET" / "recipe.json").unlink()
    assert phantoms("-n", 3, "--heads", 0) == 2
    assert "drawing not recorded" in capsys.readouterr().err


def test_held_out_phantoms_are_not_mixed(phantoms, tmp_path, capsys):
    assert phantoms("-n", 0, "--heads", 0) == 0
    (tmp_path / "SET" / f"phantom_{HELD_OUT_SEEDS.start:06d}.npz").unlink()
    assert phantoms("-n", 0, "--heads", 0, "--anatomy", tmp_path / "MAPS") == 2
    assert "held-out phantoms: anatomies" in capsys.readouterr().err
    assert phantoms("-n", 0, "--heads", 0) == 0


def test_a_recipe_without_phantoms_binds_nothing(phantoms, tmp_path):
    recipe = make_recipe(tmp_path / "MAPS", KINDS_DRAWN)
    record_recipe(tmp_path / "SET", recipe, training=True)
    assert phantoms("-n", 2) == 0
    mni152 = make_recipe(None, KINDS_DRAWN)
    assert read_recipe(tmp_path / "SET") == {**mni152, "kept_aside": mni152}
