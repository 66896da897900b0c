from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from helpers.finished import SCAN, SHAPE

from clisc_nnunet.errors import ScanError, UserError
from clisc_nnunet.evaluation.find_masks import find_masks
from clisc_nnunet.evaluation.mask_pairs import pair_masks
from clisc_nnunet.io.volume import write_volume

MASK = np.ones(SHAPE, np.uint8)


@pytest.fixture
def folders(tmp_path):
    for name in ("a", "b"):
        write_volume(tmp_path / "p" / f"{name}.nii.gz", MASK, SCAN)
        write_volume(tmp_path / "r" / f"{name}.nii.gz", MASK, SCAN)
    return tmp_path / "p", tmp_path / "r"


def test_pairs_by_name(folders):
    pairs, left_out = pair_masks(*folders)
    assert [(p.case, p.prediction.parent.name, p.reference.parent.name) for p in pairs] == [
        ("a", "p", "r"),
        ("b", "p", "r"),
    ]
    assert left_out == []


def test_other_files_of_nnunet_are_ignored(folders):
    (folders[0] / "dataset.json").write_text("{}")
    (folders[0] / "predict_from_raw_data_args.json").write_text("{}")
    assert list(find_masks(folders[0])) == ["a", "b"]


def test_brats_folders(tmp_path):
    for name in ("x_seg.nii.gz", "x_flair.nii.gz", "x_t1.nii.gz"):
        write_volume(tmp_path / "x" / name, MASK, SCAN)
    write_volume(tmp_path / "y" / "W39_1998.09.19_Segm.nii", MASK, SCAN)
    write_volume(tmp_path / "z" / "z-seg.nii.gz", MASK, SCAN)
    found = find_masks(tmp_path)
    assert {case: path.name for case, path in found.items()} == {
        "x": "x_seg.nii.gz",
        "y": "W39_1998.09.19_Segm.nii",
        "z": "z-seg.nii.gz",
    }


def test_hidden_files_are_ignored(folders):
    write_volume(folders[1] / "c" / "c_seg.nii.gz", MASK, SCAN)
    for hidden in (folders[1] / "._a.nii.gz", folders[1] / "c" / "._c_seg.nii.gz"):
        hidden.write_bytes(b"of macOS")
    assert {case: path.name for case, path in find_masks(folders[1]).items()} == {
        "a": "a.nii.gz",
        "b": "b.nii.gz",
        "c": "c_seg.nii.gz",
    }


def test_flat_names_with_an_ending_of_their_own(tmp_path):
    write_volume(tmp_path / "a_seg.nii.gz", MASK, SCAN)
    write_volume(tmp_path / "b-seg.mha", MASK, SCAN)
    assert list(find_masks(tmp_path)) == ["a", "b"]


def test_two_masks_of_a_case(folders):
    for name in ("a_seg.nii.gz", "a-seg.mha"):
        write_volume(folders[1] / name, MASK, SCAN)
    with pytest.raises(UserError, match="several masks of a"):
        find_masks(folders[1])


def test_extra_predictions_are_refused(folders):
    write_volume(folders[0] / "c.nii.gz", MASK, SCAN)
    with pytest.raises(UserError, match=r"1 predictions without a reference in .*r \(c\)"):
        pair_masks(*folders, "empty")


def test_missing_predictions(folders):
    (folders[0] / "a.nii.gz").unlink()
    with pytest.raises(UserError, match=r"no prediction for 1 of 2 references \(a\).*--missing"):
        pair_masks(*folders)
    pairs, left_out = pair_masks(*folders, "leave-out")
    assert ([p.case for p in pairs], left_out) == (["b"], ["a"])
    pairs, left_out = pair_masks(*folders, "empty")
    assert ([(p.case, p.prediction is None) for p in pairs], left_out) == (
        [("a", True), ("b", False)],
        [],
    )


def test_all_other_grids_are_reported_at_once(folders):
    moved = replace(SCAN, origin=(0.0, 0.0, 9.0))
    for name in ("a", "b"):
        write_volume(folders[0] / f"{name}.nii.gz", MASK, moved)
    with pytest.raises(ScanError, match=r"a\.nii\.gz: found a grid.*1 more cases differ too"):
        pair_masks(*folders)


def test_a_mask_of_four_dimensions(folders):
    for folder in folders:
        sitk.WriteImage(sitk.Image([4, 4, 4, 2], sitk.sitkUInt8), str(folder / "a.nii.gz"))
    with pytest.raises(ScanError, match=r"found 4D with 1 component.s.; expected one 3D volume"):
        pair_masks(*folders)


def test_no_masks(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        find_masks(tmp_path / "none")
    with pytest.raises(UserError, match="no mask among 0 files"):
        find_masks(tmp_path)


def test_phantoms_among_the_labels_of_a_dataset_are_not_scored(folders, tmp_path):
    labels = tmp_path / "Dataset501_CLISC" / "labelsTr"
    for name in ("a", "b", "phantom_0001"):
        write_volume(labels / f"{name}.nii.gz", MASK, SCAN)
    with pytest.raises(UserError, match="1 predictions without a reference"):
        pair_masks(labels, folders[1])
    (labels.parent / "clisc").mkdir()
    (labels.parent / "clisc" / "phantoms.txt").write_text("phantom_0001\n")
    assert [pair.case for pair in pair_masks(labels, folders[1])[0]] == ["a", "b"]
