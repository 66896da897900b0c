from __future__ import annotations

from pathlib import Path

import pytest

from clisc_nnunet.errors import UserError
from clisc_nnunet.inputs.case_names import NO_MODALITY
from clisc_nnunet.inputs.channels import parse_channels
from clisc_nnunet.inputs.find_cases import find_cases, find_label_channel_scans, scan_ending
from clisc_nnunet.inputs.scan_names import SEGMENTATION, SEGMENTATION_FOLDER


@pytest.fixture
def make(tmp_path: Path):
    """Create empty files: layouts are detected by names, without reading content."""

    def make_files(*names: str) -> Path:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return make_files


def names(folder: Path) -> list[tuple[str, str]]:
    return [
        (case.name, case.image.relative_to(folder).as_posix()) for case in find_cases(folder).cases
    ]


def test_brats_like_uses_flair_only(make):
    folder = make(
        "b/b_flair.nii", "a/a_flair.nii.gz", "a/a_seg.nii.gz", "a/a_t1.nii.gz", "survival.csv"
    )
    found = find_cases(folder)
    assert found.layout == "BraTS-like"
    assert names(folder) == [("a", "a/a_flair.nii.gz"), ("b", "b/b_flair.nii")]
    assert dict((path.name, reason) for path, reason in found.ignored) == {
        "a_seg.nii.gz": SEGMENTATION,
        "a_t1.nii.gz": "not FLAIR, by its name",
        "survival.csv": "not a scan, by its ending",
    }


def test_later_years_of_brats(make):
    folder = make("a-000/a-000-t2f.nii.gz", "a-000/a-000-seg.nii.gz", "a-000/a-000-t1n.nii.gz")
    assert names(folder) == [("a-000", "a-000/a-000-t2f.nii.gz")]


def test_case_without_flair_is_skipped(make):
    folder = make("a/a_flair.nii.gz", "b/b_t1.nii.gz", "c/notes.txt")
    found = find_cases(folder)
    assert [case.name for case in found.cases] == ["a"]
    assert (folder / "c", "no scan in this folder") in found.ignored
    ((name, fault),) = found.faults
    assert name == "b"
    assert "no FLAIR among 1 scans of case b (t1); expected a FLAIR scan" in str(fault)


def test_nnunet_layout(make):
    folder = make("b_0000.nii.gz", "a.1 x_0000.nii.gz", "notes.txt", ".hidden_0000.nii.gz")
    assert find_cases(folder).layout == "nnU-Net"
    assert names(folder) == [("a.1 x", "a.1 x_0000.nii.gz"), ("b", "b_0000.nii.gz")]


def test_flat_layout(make):
    folder = make("b.mha", "a_FLAIR.nrrd", "a_t1.nrrd", "a_mask.nii.gz", "b_Segm.nii", "gt.nii")
    found = find_cases(folder)
    assert found.layout == "flat"
    assert names(folder) == [("a", "a_FLAIR.nrrd")]
    assert (folder / "b.mha", NO_MODALITY) in found.ignored
    assert {path.name for path, reason in found.ignored if "segmentation" in reason} == {
        "a_mask.nii.gz",
        "b_Segm.nii",
        "gt.nii",
    }


def test_numbered_scans_are_cases(make):
    folder = make("phantom_0000.nii.gz", "phantom_0001.nii.gz", "other_0000.nii.gz")
    assert find_cases(folder).layout == "flat"
    assert [case.name for case in find_cases(folder).cases] == [
        "other_0000",
        "phantom_0000",
        "phantom_0001",
    ]


def test_broken_link_is_reported(make):
    folder = make("a.nii.gz")
    (folder / "b.nii.gz").symlink_to(folder / "gone.nii.gz")
    found = find_cases(folder)
    assert [case.name for case in found.cases] == ["a"]
    assert found.ignored == ((folder / "b.nii.gz", "a folder or a broken link"),)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "found an empty folder; expected CASE/CASE_flair"),
        (["notes.txt"], "no scan among 1 files and folders"),
        ([".hidden.nii.gz"], "found an empty folder"),
        (["a_seg.nii.gz"], "no scan among 1"),
        (["imagesTr/a_0000.nii.gz"], r"an nnU-Net dataset; .* give .*imagesTr instead"),
        (["a/a_t1.nii.gz", "a/a_t2.nii.gz"], "no FLAIR among 2 scans"),
        (["a_t1.nii.gz", "a_t2.nii.gz"], "no FLAIR among 2 scans"),
        (["a/a_flair.nii.gz", "a/a_flair.nii"], r"2 files for case a \(a_flair.nii, a_flair"),
        (["a.nii.gz", "a.mha"], r"2 files for case a \(a.mha, a.nii.gz\)"),
        (
            [f"{case}_000{channel}.nii.gz" for case in "ab" for channel in range(4)],
            "4 channels per case",
        ),
        (["a_seg/a_flair.nii.gz"], r"1 named like segmentations \(a_seg\); .*--channels flair="),
        (["a_1.tif", "a_2.tif"], r"2 of \.tif; .*not single slices"),
        (["x/y/t1.nii.gz"], r"no FLAIR among 1 scans \(1 t1\), 2 folders down"),
        (["1/2/3/4/5/6/7/8/flair.nii.gz"], r"1 folders are more than 7 folders down.*/8$"),
        (
            [f"{case}/{name}.nii.gz" for case in "ab" for name in ("brain_x", "brain_t1")],
            "--channels flair=brain_x",
        ),
    ],
)
def test_unusable_folders(make, files, message):
    folder = make(*files)
    with pytest.raises(UserError, match=message):
        find_cases(folder)


def test_missing_folder_and_file(make):
    folder = make("a.nii.gz")
    with pytest.raises(UserError, match="no such folder"):
        find_cases(folder / "absent")
    with pytest.raises(UserError, match="found a file; expected a folder of scans"):
        find_cases(folder / "a.nii.gz")


@pytest.mark.parametrize(
    ("name", "ending"),
    [("a.nii.gz", ".nii.gz"), ("A.NII.GZ", ".nii.gz"), ("a.nii", ".nii"), ("a.raw", None)],
)
def test_scan_ending(name, ending):
    assert scan_ending(Path(name)) == ending


def files_of(folder: Path, words: tuple[str, ...] = ("flair", "t1", "t1ce", "t2")):
    found = find_cases(folder, parse_channels(words))
    return {case.name: [path.name for path in case.channels] for case in found.cases}, found


def test_several_channels_of_brats(make):
    folder = make(*(f"a/a_{m}.nii.gz" for m in ("flair", "t1", "t1ce", "t2", "seg")))
    make("b/b-t2f.nii.gz", "b/b-t1n.nii.gz", "b/b-t2w.nii.gz")
    cases, found = files_of(folder)
    assert cases == {"a": [f"a_{m}.nii.gz" for m in ("flair", "t1", "t1ce", "t2")]}
    assert "no T1ce among 3 scans of case b" in str(dict(found.faults)["b"])
    assert found.channels[2] == "channel 2: t1ce (files with t1ce in their name)"


def test_numbers_of_nnunet_follow_the_requested_order(make):
    folder = make(*(f"{case}_000{n}.nii.gz" for case in "ab" for n in range(2)))
    cases, found = files_of(folder, ("t1", "flair"))
    assert cases["a"] == ["a_0000.nii.gz", "a_0001.nii.gz"]
    assert found.cases[0].image.name == "a_0001.nii.gz"
    assert found.channels == ("channel 0: t1 (_0000)", "channel 1: flair (_0001)")


def test_nnunet_numbers_can_be_given(make, tmp_path):
    folder = make(*(f"{case}_000{n}.nii.gz" for case in "ab" for n in range(2)))
    assert files_of(folder, ("flair=0001",))[0] == {"a": ["a_0001.nii.gz"], "b": ["b_0001.nii.gz"]}


def test_dataset_json_defines_the_numbers(make):
    root = make(*(f"imagesTr/{case}_000{n}.nii.gz" for case in "ab" for n in range(2)))
    (root / "dataset.json").write_text('{"channel_names": {"0": "T1", "1": "FLAIR"}}')
    assert files_of(root / "imagesTr", ("flair",))[0]["a"] == ["a_0001.nii.gz"]


def test_a_given_number_takes_precedence_over_the_dataset(make):
    root = make(*(f"imagesTr/{case}_000{n}.nii.gz" for case in "ab" for n in range(3)))
    (root / "dataset.json").write_text('{"channel_names": {"0": "T1", "1": "FLAIR", "2": "T2"}}')
    cases, _ = files_of(root / "imagesTr", ("flair=0002", "t1"))
    assert cases["a"] == ["a_0002.nii.gz", "a_0000.nii.gz"]


NUMBERS = {"t1": "0000", "flair": "0001"}


@pytest.mark.parametrize("cases", ["ab", "a"])
def test_numbers_can_be_known(make, cases):
    folder = make(*(f"{case}_000{n}.nii.gz" for case in cases for n in range(2)))
    found = find_label_channel_scans(folder, (), "flair", NUMBERS)
    assert {case: path.name for case, path in found.items()} == {
        case: f"{case}_0001.nii.gz" for case in cases
    }


def test_numbers_that_the_folder_does_not_have_are_ignored(make):
    folder = make(*(f"{case}_000{n}.nii.gz" for case in "ab" for n in range(3)))
    with pytest.raises(UserError, match=r"3 channels per case.*--channels t2=0003"):
        find_label_channel_scans(folder, (), "t2", {**NUMBERS, "t2": "0007"})


def test_known_numbers_do_not_matter_to_other_layouts(make):
    folder = make("a/a_flair.nii.gz", "a/a_t1.nii.gz")
    assert list(find_label_channel_scans(folder, (), "flair", NUMBERS)) == ["a"]


def test_label_channel_scans(make):
    folder = make("a_flair.nii.gz", "a_t2.nii.gz")
    assert find_label_channel_scans(folder, (), "t2") == {"a": folder / "a_t2.nii.gz"}
    assert find_label_channel_scans(folder, ("flair", "t2"), "t2") == {"a": folder / "a_t2.nii.gz"}
    assert find_label_channel_scans(folder, ("flair=t2",), "flair") == {"a": folder / "a_t2.nii.gz"}


def test_bids(make):
    folder = make(
        "sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz",
        "sub-01/ses-2/anat/sub-01_ses-2_FLAIR.nii.gz",
        "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz",
        "sub-02/anat/sub-02_run-1_FLAIR.nii.gz",
        "sub-02/anat/sub-02_run-2_FLAIR.nii.gz",
        "sub-03/anat/sub-03_ce-gd_T1w.nii.gz",
        "derivatives/x/sub-01/anat/sub-01_FLAIR.nii.gz",
        "dataset_description.json",
    )
    found = find_cases(folder)
    assert found.layout == "BIDS"
    assert [case.name for case in found.cases] == ["sub-01_ses-1", "sub-01_ses-2"]
    faults = dict(found.faults)
    assert "2 files for case sub-02 (sub-02_run-1_FLAIR" in str(faults["sub-02"])
    assert "no FLAIR among 1 scans of case sub-03 (t1ce)" in str(faults["sub-03"])
    assert files_of(folder, ("flair=run-2_FLAIR",))[0] == {"sub-02": ["sub-02_run-2_FLAIR.nii.gz"]}


def test_one_bad_case_does_not_stop_the_others(make):
    folder = make("a/a_flair.nii.gz", "b/b_flair.nii", "b/b_flair.nii.gz", "c_seg/c_flair.nii.gz")
    found = find_cases(folder)
    assert [case.name for case in found.cases] == ["a"]
    assert [name for name, _ in found.faults] == ["b"]
    assert (folder / "c_seg", SEGMENTATION_FOLDER) in found.ignored


def test_a_folder_that_cannot_be_read_is_reported(make, monkeypatch):
    folder = make("a/a_flair.nii.gz", "b/b_flair.nii.gz")

    def refuse(path):
        if path.name == "b":
            raise PermissionError(13, "Permission denied")
        return iterdir(path)

    iterdir = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UserError, match="b: found Permission denied; expected a readable folder"):
        find_cases(folder)


def test_siblings_of_a_bids_anat_folder_is_reported(make):
    folder = make(
        "sub-01/ses-1/anat/sub-01_FLAIR.nii.gz", "sub-01/ses-1/dwi/x.nii.gz", "sub-01/ses-2/x.nii"
    )
    make("sub-02/anat/sub-02_FLAIR.nii.gz", "sub-02/x.nii.gz", "sub-03/anat")
    found = find_cases(folder)
    assert [case.name for case in found.cases] == ["sub-01_ses-1", "sub-02"]
    siblings = [path.relative_to(folder).as_posix() for path, why in found.ignored if "anat" in why]
    assert siblings == ["sub-01/ses-2", "sub-01/ses-1/dwi", "sub-02/x.nii.gz", "sub-03"]


def test_channels_that_were_not_requested_are_reported(make):
    folder = make(*(f"{case}_000{n}.nii.gz" for case in "ab" for n in range(2)))
    found = find_cases(folder, parse_channels(("flair=0001",)))
    assert [path.name for path, _ in found.ignored] == ["a_0000.nii.gz", "b_0000.nii.gz"]
