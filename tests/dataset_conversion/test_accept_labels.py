"""Corrected labels into a dataset that is preprocessed already."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import blosc2
import numpy as np
import pytest
from helpers.acquisitions import turned
from helpers.tiny_nnunet import CASES, NAME
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

from clisc_nnunet.cli.accept_labels import main
from clisc_nnunet.dataset_conversion import preprocess_again
from clisc_nnunet.dataset_layout import DatasetLayout
from clisc_nnunet.errors import UserError
from clisc_nnunet.io.sitk_images import read_image
from clisc_nnunet.io.volume import Volume, read_geometry, write_volume

CASE, OTHER = CASES[0], CASES[1]


class Accepting:
    """A dataset, its preprocessed files, and a folder of corrected labels."""

    def __init__(self, root: Path) -> None:
        self.dataset = DatasetLayout(root / "nnUNet_raw" / NAME)
        self.dataset.clisc.mkdir()
        self.preprocessed = root / "nnUNet_preprocessed" / NAME
        self.folder = root / "corrected"
        self.folder.mkdir()
        self.grid = read_geometry(self.dataset.image(CASE))
        self.mask = np.zeros(self.grid.shape, np.uint8)
        self.mask[8:13, 10:16, 9:15] = 1

    def save(self, name: str, array: np.ndarray | None = None) -> Path:
        write_volume(self.folder / name, self.mask if array is None else array, self.grid)
        return self.folder / name

    def label(self, case: str = CASE) -> np.ndarray:
        return read_image(self.dataset.label(case))[0]

    def trusted(self) -> list[str]:
        path = self.dataset.trusted_txt
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.split()[0] for line in lines]

    def seg(self, case: str = CASE, configuration: str = "3d") -> np.ndarray:
        """Preprocessed label, -1 outside of the brain."""
        data = nnUNetDatasetBlosc2(str(self.preprocessed / f"nnUNetPlans_{configuration}"))
        return np.asarray(data.load_case(case)[1][:])

    def files(self) -> dict[str, tuple[int, bytes]]:
        """All files of the raw and preprocessed dataset, with time and content."""
        paths = (*self.dataset.folder.rglob("*"), *self.preprocessed.rglob("*"))
        return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in paths if p.is_file()}

    def changed(self, before: dict[str, tuple[int, bytes]]) -> set[str]:
        """Names of the files that are new, or were written again."""
        after = self.files()
        assert before.keys() <= after.keys()
        return {Path(path).name for path, known in after.items() if before.get(path) != known}


@pytest.fixture
def accepting(nnunet_root):
    return Accepting(nnunet_root)


def call(accepting, *more):
    return main([str(accepting.folder), "-d", "7", *more])


def test_a_corrected_label_is_placed_listed_and_preprocessed_alone(accepting, capsys):
    accepting.save(f"{CASE}.nii.gz")
    before, old = accepting.files(), accepting.dataset.label(CASE).read_bytes()
    assert call(accepting) == 0
    np.testing.assert_array_equal(accepting.label(), accepting.mask)
    assert accepting.trusted() == [CASE]
    (kept,) = accepting.dataset.replaced_labels.iterdir()
    assert kept.read_bytes() == old
    for configuration in ("3d", "2d"):
        inside = accepting.seg(configuration=configuration)
        assert (inside == 1).any() and (inside == 1).sum() <= accepting.mask.sum()
    copy = accepting.preprocessed / "gt_segmentations" / f"{CASE}.nii.gz"
    assert copy.read_bytes() == accepting.dataset.label(CASE).read_bytes()
    assert (accepting.preprocessed / "clisc" / "trusted.txt").read_text().startswith(CASE)
    assert not any(name.startswith(OTHER) for name in accepting.changed(before))
    out = capsys.readouterr().out
    assert f"accepted  {CASE}: {CASE}.nii.gz, 180 voxels" in out
    assert "1 labels for Dataset007_Heads: 1 accepted, 0 unchanged" in out
    assert "preprocessed: 1 cases for nnUNetPlans, 3d_fullres" in out


def test_a_second_call_does_nothing(accepting, capsys):
    accepting.save(f"{CASE}.seg.nrrd")
    assert call(accepting) == 0
    before = accepting.files()
    assert call(accepting) == 0
    assert accepting.changed(before) == set()
    assert "0 accepted, 1 unchanged" in capsys.readouterr().out


def test_a_dry_run_writes_nothing(accepting, capsys):
    accepting.save(f"{CASE}.nrrd")
    before = accepting.files()
    assert call(accepting, "--dry-run") == 0
    assert accepting.changed(before) == set()
    out = capsys.readouterr().out
    assert "1 accepted" in out and "to preprocess: 1 cases for nnUNetPlans, 2d" in out
    assert call(accepting) == 0
    accepting.save(f"{CASE}.nrrd", accepting.mask[::-1])
    capsys.readouterr()
    assert call(accepting, "--dry-run") == 0
    assert "to preprocess: 1 cases for nnUNetPlans, 2d" in capsys.readouterr().out


@pytest.mark.parametrize("moment", ["_preprocess", "_remember", "_copy_labels"])
def test_an_interrupted_call_is_finished_by_the_next(accepting, moment, monkeypatch, capsys):
    for case in (CASE, OTHER):
        accepting.save(f"{case}.nii.gz")

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(preprocess_again, moment, interrupt)
        assert call(accepting) == 130
    assert accepting.trusted() == [CASE, OTHER]
    assert call(accepting) == 0
    for case in (CASE, OTHER):
        assert (accepting.seg(case) == 1).any()
        copy = accepting.preprocessed / "gt_segmentations" / f"{case}.nii.gz"
        assert copy.read_bytes() == accepting.dataset.label(case).read_bytes()
    assert not list(accepting.preprocessed.glob(".*"))


def label_of(file):
    return blosc2.open(str(file))[:]


def test_labels_preprocessed_by_nnunet_meanwhile_are_preprocessed_again(accepting):
    accepting.save(f"{CASE}.nii.gz")
    assert call(accepting) == 0
    file = accepting.preprocessed / "nnUNetPlans_3d" / f"{CASE}_seg.b2nd"
    # Content and not bytes, which may differ between two compressions.
    expected, other = label_of(file), file.with_name(f"{OTHER}_seg.b2nd").read_bytes()
    file.write_bytes(other)
    assert call(accepting) == 0
    np.testing.assert_array_equal(label_of(file), expected)


def test_what_does_not_fit_is_refused_alone(accepting, capsys):
    accepting.save(f"{CASE}.nii.gz", accepting.mask * 255)
    accepting.save(f"{OTHER}.nii.gz", accepting.mask * np.float32(0.37))
    accepting.save("case_9.nii.gz")
    cut = accepting.save(f"{CASES[2]}.nii.gz")
    cut.write_bytes(cut.read_bytes()[:-9])
    moved = replace(accepting.grid, origin=(1.0, 2.0, 3.0))
    write_volume(accepting.folder / f"{CASES[3]}.nii.gz", accepting.mask, moved)
    before = accepting.files()
    assert call(accepting) == 3
    assert accepting.trusted() == [CASE]
    np.testing.assert_array_equal(accepting.label(), accepting.mask)
    assert not any(name.startswith(tuple(CASES[1:4])) for name in accepting.changed(before))
    out = capsys.readouterr().out
    assert "255 taken as tumour" in out
    assert "found the value 0.37" in out and "cannot be read" in out and "at 1 x 2 x 3" in out
    assert "no case 'case_9' in Dataset007_Heads" in out and "the closest names are case_" in out
    assert "1 accepted, 0 unchanged, 4 refused" in out


def test_several_values_need_an_option_once(accepting, capsys):
    values = accepting.mask.copy()
    values[9] *= 4
    accepting.save(f"{CASE}.nii.gz", values)
    assert call(accepting) == 2
    assert "no usable label" in capsys.readouterr().err
    assert call(accepting, "--any-label") == 0
    np.testing.assert_array_equal(accepting.label(), accepting.mask)


def test_another_orientation_is_put_back(accepting):
    returned = turned(Volume(accepting.mask, accepting.grid), "ASR")
    write_volume(accepting.folder / f"{CASE}.nii.gz", returned.array, returned.geometry)
    assert call(accepting) == 0
    np.testing.assert_array_equal(accepting.label(), accepting.mask)


def test_labels_edited_in_the_dataset_are_accepted_there(accepting, capsys):
    beside = accepting.dataset.labels / f"{CASE}.nii"
    write_volume(beside, accepting.mask, accepting.grid)
    for case in CASES:  # these are ours, unedited
        digest = preprocess_again.file_sha256(accepting.dataset.label(case))
        record = accepting.dataset.stages / case / "label.json"
        record.parent.mkdir(parents=True)
        record.write_text(json.dumps({"sha256": [digest]}))
    assert main(["-d", "7"]) == 0
    assert accepting.trusted() == [CASE]
    assert not beside.exists()
    np.testing.assert_array_equal(accepting.label(), accepting.mask)
    assert main(["-d", "7"]) == 0
    assert accepting.trusted() == [CASE]


@pytest.mark.parametrize("in_dataset", [True, False])
def test_phantoms_are_no_corrected_labels(accepting, in_dataset, capsys):
    accepting.dataset.phantoms_txt.write_text(OTHER)
    if in_dataset:
        accepting.folder = accepting.dataset.labels
    else:
        accepting.save(f"{OTHER}.nii.gz")
    accepting.save(f"{CASE}.nii.gz")
    before = accepting.dataset.label(OTHER).read_bytes()
    assert call(accepting) == 0
    assert CASE in accepting.trusted() and OTHER not in accepting.trusted()
    assert accepting.dataset.label(OTHER).read_bytes() == before
    assert in_dataset or f"left out: {OTHER}, phantoms" in capsys.readouterr().out


def test_a_label_whose_record_is_lost_is_accepted_once_it_is_listed(accepting, capsys):
    masks = accepting.dataset.stages / CASE / "masks.npz"
    masks.parent.mkdir(parents=True)
    masks.touch()
    assert main(["-d", "7"]) == 3
    assert "label.json is missing or empty" in capsys.readouterr().out
    assert CASE not in accepting.trusted()
    accepting.dataset.trusted_txt.write_text(CASE)
    assert main(["-d", "7"]) == 0


def test_an_unchanged_label_counts_as_checked(accepting):
    path = accepting.dataset.label(CASE)
    (accepting.folder / path.name).write_bytes(path.read_bytes())
    before = path.read_bytes()
    assert call(accepting) == 0
    assert accepting.trusted() == [CASE] and path.read_bytes() == before


def test_scans_beside_the_labels_are_left_alone(accepting, capsys):
    accepting.save(f"{CASE}.nii.gz")
    scan = accepting.dataset.image(CASE)
    (accepting.folder / scan.name).write_bytes(scan.read_bytes())
    assert call(accepting) == 0
    assert "1 accepted" in capsys.readouterr().out


def test_a_case_in_the_other_list_is_refused(accepting, capsys):
    accepting.save(f"{CASE}.nii.gz")
    accepting.save(f"{OTHER}.nii.gz")
    accepting.dataset.exclude_txt.write_text(CASE)
    assert call(accepting) == 3
    assert "remove it from exclude.txt to learn from this label" in capsys.readouterr().out
    assert accepting.trusted() == [OTHER]


def test_a_case_without_a_label_gets_one(accepting, capsys):
    """Its scan is not in the dataset, but its activation map is, on the same grid."""
    accepting.dataset.label(CASE).unlink()
    write_volume(accepting.dataset.cam(CASE), accepting.mask, accepting.grid)
    accepting.dataset.image(CASE).unlink()
    accepting.save(f"{CASE}.nii.gz")
    assert call(accepting) == 0
    np.testing.assert_array_equal(accepting.label(), accepting.mask)
    out = capsys.readouterr().out
    assert "placed by clisc_make_pseudo_dataset --continue" in out and "preprocessed:" not in out


def test_a_damaged_scan_is_reported_and_the_others_are_preprocessed(accepting, capsys):
    for case in (CASE, OTHER):
        accepting.save(f"{case}.nii.gz")
    scan = accepting.dataset.image(CASE)
    content = gzip.decompress(scan.read_bytes())
    scan.write_bytes(gzip.compress(content[:352]))
    assert call(accepting) == 3
    assert f"not preprocessed: {CASE}: {scan}: found a file that" in capsys.readouterr().out
    assert (accepting.seg(OTHER) == 1).sum() > 0


def test_datasets_that_are_not_preprocessed_need_nothing_more(accepting, monkeypatch):
    monkeypatch.delenv("nnUNet_preprocessed")
    accepting.save(f"{CASE}.nii.gz")
    assert call(accepting) == 0
    assert accepting.trusted() == [CASE]


def test_mistakes_are_reported_in_one_line(accepting, tmp_path, capsys):
    assert call(accepting) == 2
    assert "found no label; expected files CASE.nii.gz" in capsys.readouterr().err
    assert main([str(tmp_path / "no"), "-d", "7"]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert main([str(accepting.folder), "-d", "8"]) == 2
    assert "no datasets with id 8" in capsys.readouterr().err
    accepting.dataset.clisc.rmdir()
    assert call(accepting) == 2
    assert "expected a dataset of clisc_make_pseudo_dataset" in capsys.readouterr().err


def test_files_of_an_older_nnunet_are_not_mixed(accepting):
    accepting.save(f"{CASE}.nii.gz")
    (accepting.preprocessed / "nnUNetPlans_3d" / f"{CASE}.npz").touch()
    with pytest.raises(UserError, match="files of an earlier version of nnU-Net"):
        preprocess_again.preprocessed_configurations(accepting.preprocessed)
