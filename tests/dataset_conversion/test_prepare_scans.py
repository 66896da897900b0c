import nibabel as nib
import numpy as np
import pytest
from helpers.dicom_files import write_series
from helpers.nifti_files import affine, write_forms

from clisc_nnunet.dataset_conversion.prepare_scans import UNFINISHED, main
from clisc_nnunet.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_SOME_CASES_FAILED
from clisc_nnunet.io.volume import Geometry, read_volume, write_volume

GRID = Geometry((6, 5, 4), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def scan(path, background=0.0):
    array = np.full((4, 5, 6), background, np.float32)
    array[1:3, 1:4, 1:5] = background + np.arange(24, dtype=np.float32).reshape(2, 3, 4) + 1
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, array, GRID)
    return array


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def scans(tmp_path):
    for case in ("a", "b"):
        scan(tmp_path / "scans" / case / f"{case}_flair.nii.gz")
        scan(tmp_path / "scans" / case / f"{case}_t1.nii.gz")
    return tmp_path / "scans"


def prepare(scans, out, *more):
    return main(["-i", str(scans), "-o", str(out), *more])


def test_scans_are_named_by_case_and_channel(scans, tmp_path):
    out = tmp_path / "out"
    assert prepare(scans, out, "--channels", "flair", "t1") == EXIT_DONE
    assert names(out) == [f"{case}_000{n}.nii.gz" for case in "ab" for n in (0, 1)]
    placed = read_volume(out / "a_0001.nii.gz")
    assert np.array_equal(placed.array, read_volume(scans / "a" / "a_t1.nii.gz").array)


def test_flair_alone_is_linked_or_copied(scans, tmp_path):
    assert prepare(scans, tmp_path / "linked") == EXIT_DONE
    assert (tmp_path / "linked" / "a_0000.nii.gz").is_symlink()
    assert prepare(scans, tmp_path / "copied", "--copy", "--cases", "b") == EXIT_DONE
    assert names(tmp_path / "copied") == ["b_0000.nii.gz"]
    assert not (tmp_path / "copied" / "b_0000.nii.gz").is_symlink()


def test_a_background_becomes_0_as_in_the_dataset(tmp_path):
    array = scan(tmp_path / "scans" / "x.nii.gz", background=-1000.0)
    assert prepare(tmp_path / "scans", tmp_path / "out") == EXIT_DONE
    placed = read_volume(tmp_path / "out" / "x_0000.nii.gz").array
    assert np.array_equal(placed, array + 1000)


def test_dicom_becomes_nifti(tmp_path):
    write_series(tmp_path / "scans" / "one" / "flair", "1.2.3")
    assert prepare(tmp_path / "scans", tmp_path / "out") == EXIT_DONE
    assert names(tmp_path / "out") == ["one_0000.nii.gz"]


def test_a_damaged_scan_is_skipped(scans, tmp_path, capsys):
    (scans / "a" / "a_flair.nii.gz").write_bytes(b"cut")
    assert prepare(scans, tmp_path / "out") == EXIT_SOME_CASES_FAILED
    assert "a_flair.nii.gz" in capsys.readouterr().err
    assert names(tmp_path / "out") == ["b_0000.nii.gz"]


def test_nothing_that_can_be_used(tmp_path):
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.nii.gz").write_bytes(b"cut")
    assert prepare(tmp_path / "scans", tmp_path / "out") == EXIT_BAD_INPUT


def test_a_used_folder_needs_to_be_gone_on_with(scans, tmp_path, capsys):
    out = tmp_path / "out"
    assert prepare(scans, out, "--cases", "a") == EXIT_DONE
    (out / "a_0000.nii.gz").unlink()
    (out / "a_0000.nii.gz").write_text("mine")
    assert prepare(scans, out) == EXIT_BAD_INPUT
    assert "--continue" in capsys.readouterr().err
    assert prepare(scans, out, "--continue") == EXIT_DONE
    assert (out / "a_0000.nii.gz").read_text() == "mine"
    assert names(out) == ["a_0000.nii.gz", "b_0000.nii.gz"]
    assert not (out / UNFINISHED).exists()


def test_the_folder_of_the_scans_is_refused(scans):
    assert prepare(scans, scans, "--continue") == EXIT_BAD_INPUT


def test_a_scan_with_several_geometries_is_written_again_and_reported(tmp_path, capsys):
    (tmp_path / "scans").mkdir()
    scanner, atlas = affine((1, 1.2, 3)), affine((1, 1.2, 3), (20, 30, 40))
    path = write_forms(tmp_path / "scans" / "x.nii.gz", scanner, atlas, codes=(1, 4))
    assert prepare(tmp_path / "scans", tmp_path / "out") == EXIT_DONE
    assert f"{path}: header: qform and sform place voxels up to" in capsys.readouterr().out
    placed = nib.load(tmp_path / "out" / "x_0000.nii.gz")
    assert np.allclose(placed.get_qform(), scanner, atol=1e-5)
    assert np.allclose(placed.get_sform(), scanner, atol=1e-5)
