"""The phantoms to train on, as files."""

import numpy as np
import pytest

from clisc_nnunet.bundled.phantom_set import (
    HELD_OUT_SEEDS,
    load_heads,
    load_volumes,
    make_phantom_set,
    read_recipe,
    write_recipe,
)
from clisc_nnunet.errors import UserError
from clisc_nnunet.phantoms.anatomy import mni152_anatomy
from clisc_nnunet.phantoms.settings import HEADS, PhantomSettings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    mni = [mni152_anatomy(5.0)]
    make_phantom_set(folder, [0, 1, HELD_OUT_SEEDS.start], mni, PhantomSettings(), 1)
    make_phantom_set(folder, [0], mni, HEADS, 1, "head")
    return folder


def test_training_sees_no_phantom_that_is_kept_aside(folder):
    assert len(load_volumes(folder)) == 2
    (kept,) = load_volumes(folder, [HELD_OUT_SEEDS.start])
    assert not any(np.array_equal(kept.pixels, v.pixels) for v in load_volumes(folder))


def test_volumes_and_heads_come_back_whole(folder):
    for volume in load_volumes(folder):
        assert volume.pixels.dtype == np.uint8
        assert volume.tumour.shape == volume.pixels.shape
        assert not (volume.tumour & (volume.pixels == 0)).any()
    (head,) = load_heads(folder)
    assert head.brain.dtype == bool
    # The 95th percentile of the head is 100, whatever its units.
    assert 50 < np.median(head.values[head.brain]) <= 105


def test_a_set_is_continued_not_made_anew(folder):
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


def test_the_recipe_names_every_label_map_by_its_hash(tmp_path):
    assert read_recipe(tmp_path) == {}
    (tmp_path / "brainweb_made_up.nii.gz").write_bytes(b"labels")
    write_recipe(tmp_path, tmp_path, [PhantomSettings()])
    first = read_recipe(tmp_path)
    assert list(first["anatomies"]) == ["brainweb_made_up.nii.gz"]
    write_recipe(tmp_path, None, [HEADS])
    second = read_recipe(tmp_path)
    assert "MNI152" in second["anatomies"]
    assert first["phantom_settings_sha256"] != second["phantom_settings_sha256"]
