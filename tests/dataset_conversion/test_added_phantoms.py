"""Phantoms in a dataset, with a quick generator in place of the real one."""

import zlib

import numpy as np
import pytest

from clisc_nnunet.dataset_conversion import added_phantoms
from clisc_nnunet.dataset_conversion.added_phantoms import FIRST_SEED, AddedPhantoms
from clisc_nnunet.dataset_layout import DatasetLayout, phantoms_beside, read_names
from clisc_nnunet.errors import UserError
from clisc_nnunet.inputs.channels import Channel
from clisc_nnunet.io.volume import Geometry, read_geometry, read_mask, write_volume
from clisc_nnunet.phantoms.phantom import Phantom
from clisc_nnunet.phantoms.settings import KINDS
from clisc_nnunet.processes import local_pool

FLAIR = (Channel("flair"),)
SPACING = (2.0, 2.0, 3.0)


@pytest.fixture
def drawn(monkeypatch):
    """Seeds that were drawn, in order; a phantom is a block of the seed's brightness."""
    seeds = []

    def draw(seed, anatomies, settings):
        seeds.append(seed)
        flair = np.zeros((8, 8, 8), np.float32)
        flair[1:7, 1:7, 1:7] = 1 + seed % 7 / 10
        tumour = np.zeros(flair.shape, bool)
        free = settings.tumour.free == 1.0
        tumour[2:6, 2:6, 2:6] = not free
        name = next(name for name, one in KINDS.items() if one.head == settings.head)
        facts = {"seed": seed, "anatomy": name, "kind": "none" if free else "core"}
        return Phantom(flair, tumour, flair > 0, (3.0, 3.0, 3.0), facts)

    monkeypatch.setattr(added_phantoms, "make_phantom", draw)
    monkeypatch.setattr(added_phantoms, "_anatomy", lambda: None)
    return seeds


@pytest.fixture
def scans(tmp_path):
    path = tmp_path / "scans" / "a.nii.gz"
    axes = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    write_volume(path, np.ones((4, 4, 4), np.int16), Geometry((4,) * 3, SPACING, (0,) * 3, axes))
    return [tmp_path / "scans" / "no header.nii.gz", path]


@pytest.fixture
def dataset(tmp_path):
    layout = DatasetLayout(tmp_path / "raw" / "Dataset501_CLISC")
    for folder in (layout.stages, layout.images, layout.labels):
        folder.mkdir(parents=True)
    return layout


def add(dataset, count, scans, part=0, parts=1):
    phantoms = AddedPhantoms.requested(dataset, count)
    phantoms.check(FLAIR, ["a"])
    with local_pool(1) as pool:
        phantoms.make(scans, pool, part, parts)
    return phantoms


def content(dataset):
    files = [*dataset.images.iterdir(), *dataset.labels.iterdir()]
    return {file.name: zlib.crc32(file.read_bytes()) for file in files}


def test_kinds_take_turns_and_every_third_is_free_of_tumour(dataset, scans, drawn):
    phantoms = add(dataset, 6, scans)
    phantoms.place()
    records = phantoms.records()
    assert drawn == [FIRST_SEED + k for k in range(1, 7)]
    assert [one["kinds"] for one in records] == ["usual", "aged"] * 3
    assert [one["kind"] for one in records] == ["core", "core", "none"] * 2
    assert [one["seed"] for one in records] == drawn
    assert [o.status for o in phantoms.outcomes()] == ["phantom"] * 6
    assert phantoms.outcomes()[2].label_ml == 0 < phantoms.outcomes()[0].label_ml
    assert "6 phantoms, 2 of them without a tumour" in phantoms.summary()


def test_files_are_as_those_of_scans(dataset, scans, drawn):
    add(dataset, 3, scans).place()
    for name in ("phantom_0001", "phantom_0003"):
        grid = read_geometry(dataset.image(name))
        label = read_mask(dataset.label(name), grid)
        assert grid.spacing == pytest.approx(SPACING)
        # Of one intensity, as a mask is: not read as a scan.
        head = read_mask(dataset.image(name), grid)
        assert head.any() and not head.all()
        assert label.any() == (name == "phantom_0001")
    assert list(read_names(dataset.phantoms_txt)) == [f"phantom_000{k}" for k in (1, 2, 3)]
    assert phantoms_beside(dataset.images) == phantoms_beside(dataset.labels)
    assert phantoms_beside(dataset.images) == set(read_names(dataset.phantoms_txt))
    assert phantoms_beside(dataset.folder / "predictions") == frozenset()
    assert not list(dataset.stages.iterdir())


def test_another_number_adds_or_removes_and_changes_nothing_else(dataset, scans, drawn):
    dataset.label("a").write_bytes(b"of a scan")
    add(dataset, 2, scans).place()
    two = content(dataset)
    scans = scans[:1]  # voxels of the first call are kept, whatever the scans are now
    add(dataset, 4, scans).place()
    four = content(dataset)
    assert len(four) == 9 and two.items() <= four.items()
    add(dataset, None, scans).place()
    assert content(dataset) == four and len(drawn) == 4
    add(dataset, 2, scans).place()
    assert content(dataset) == two
    assert list(read_names(dataset.phantoms_txt)) == ["phantom_0001", "phantom_0002"]
    add(dataset, 0, scans).place()
    assert set(content(dataset)) == {"a.nii.gz"}
    assert not dataset.phantoms_txt.exists()
    assert AddedPhantoms.requested(dataset, None).count == 0


def test_parts_make_each_phantom_once_and_a_stopped_call_is_resumed(dataset, scans, drawn):
    for part in (1, 0):
        add(dataset, 5, scans, part, parts=2)
    assert sorted(drawn) == [FIRST_SEED + k for k in range(1, 6)]
    assert not content(dataset)  # the dataset is written at the end, by one job
    (dataset.phantoms / "phantom_0004.json").unlink()  # as if stopped before it
    add(dataset, None, scans).place()
    assert drawn[5:] == [FIRST_SEED + 4]
    assert len(content(dataset)) == 10


def test_a_changed_phantom_is_made_again_and_reported(dataset, scans, drawn, capsys):
    add(dataset, 2, scans).place()
    before = content(dataset)
    dataset.label("phantom_0002").write_bytes(b"edited")
    add(dataset, 2, scans).place()
    assert "phantom_0002: changed or removed" in capsys.readouterr().out
    assert content(dataset) == before and len(drawn) == 3


@pytest.mark.parametrize(
    ("count", "channels", "scans", "message"),
    [
        (-1, ["flair"], [], "found -1; expected 0 to 9999"),
        (2, ["flair", "t1"], [], "2 phantoms and the channels flair t1; expected flair alone"),
        (2, ["t1"], [], "2 phantoms and the channels t1"),
        (2, ["flair"], ["a", "phantom_0002"], r"1 scans with the names of phantoms \(phantom_0002"),
    ],
)
def test_what_cannot_be_is_refused(dataset, count, channels, scans, message):
    channels = [Channel(name) for name in channels]
    with pytest.raises(UserError, match=message):
        AddedPhantoms(dataset, count).check(channels, scans)
    AddedPhantoms(dataset, 0).check(channels, scans)


def test_scans_and_files_of_a_phantoms_name_are_never_touched(dataset, scans, drawn):
    AddedPhantoms(dataset, 1).check(FLAIR, ["phantom_0002"])
    dataset.image("phantom_0002").write_bytes(b"mine")
    with pytest.raises(UserError, match="not a phantom of this command"):
        add(dataset, 2, scans)
    add(dataset, 1, scans).place()
    add(dataset, 0, scans).place()
    assert dataset.image("phantom_0002").read_bytes() == b"mine"
    (dataset.stages / "phantom_0001").mkdir()  # results of a scan that has left the folder
    with pytest.raises(UserError, match="in a dataset that never had them"):
        AddedPhantoms(dataset, 1).check(FLAIR, [])


def test_a_scan_takes_no_phantoms_name_or_place(dataset, scans, drawn):
    add(dataset, 2, scans).place()
    for count in (0, 1, 2):  # its label would pass for one that a person has drawn
        with pytest.raises(UserError, match=r"1 scans with the names of phantoms \(phantom_0002"):
            AddedPhantoms(dataset, count).check(FLAIR, ["a", "phantom_0002"])
    dataset.label("a").write_bytes(b"of a scan")
    dataset.phantoms_txt.write_text("phantom_0001\nphantom_0002\na\n")
    add(dataset, 1, scans).place()
    assert dataset.label("a").is_file() and not dataset.label("phantom_0002").exists()


def test_a_lost_folder_of_records_loses_no_phantom(dataset, scans, drawn):
    add(dataset, 2, scans).place()
    before = content(dataset)
    for file in dataset.phantoms.iterdir():
        file.unlink()
    add(dataset, None, scans).place()
    assert content(dataset) == before
    for file in dataset.phantoms.iterdir():
        file.unlink()
    add(dataset, 0, scans).place()
    assert not content(dataset)
