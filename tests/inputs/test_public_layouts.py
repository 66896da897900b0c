"""Folders named as public data sets are: which FLAIR is which case, and nothing else is one."""

import json
from pathlib import Path

import pytest
from helpers.names import FLAIR_NAMES, MASK_NAMES, OTHER_NAMES
from hypothesis import given, settings
from hypothesis import strategies as st

from clisc_nnunet.errors import UserError
from clisc_nnunet.inputs.channels import parse_channels
from clisc_nnunet.inputs.find_cases import find_cases

LAYOUTS = {
    "BraTS 2018": (
        {"B_1": "HGG/B_1/B_1_flair", "B_2": "LGG/B_2/B_2_flair"},
        ["HGG/B_1/B_1_seg", "HGG/B_1/B_1_t1", "LGG/B_2/B_2_t1ce"],
    ),
    "BraTS 2015": (
        {"pat_1": "HGG/pat_1/VSD.Brain.XX.O.MR_Flair.54512/VSD.Brain.XX.O.MR_Flair.54512"},
        [
            "HGG/pat_1/VSD.Brain.XX.O.MR_T1c.54514/VSD.Brain.XX.O.MR_T1c.54514",
            "HGG/pat_1/VSD.Brain_3more.XX.O.OT.54517/VSD.Brain_3more.XX.O.OT.54517",
        ],
    ),
    "EGD": (
        {"EGD-1": "S/EGD-1/4_FLAIR/NIFTI/FLAIR", "EGD-2": "S/EGD-2/4_FLAIR/NIFTI/FLAIR"},
        ["S/EGD-1/1_T1/NIFTI/T1", "S/EGD-2/2_T1GD/NIFTI/T1GD", "S/EGD-1/5_MASK/NIFTI/MASK"],
    ),
    "LUMIERE": (
        {"P-1_week-000": "P-1/week-000/FLAIR", "P-1_week-044": "P-1/week-044/FLAIR"},
        ["P-1/week-044/CT1", "P-1/week-044/HD-GLIO-AUTO-segmentation/registered/FLAIR_r2s_bet_reg"],
    ),
    "WMH": (
        {"Utrecht_0": "training/Utrecht/0/orig/FLAIR", "GE_0": "training/A/GE/0/orig/FLAIR"},
        ["training/Utrecht/0/pre/FLAIR", "training/Utrecht/0/orig/3DT1", "training/A/GE/0/wmh"],
    ),
    "MSLesSeg": (
        {"P1_T1": "P1/T1/P1_T1_FLAIR", "P1_T2": "P1/T2/P1_T2_FLAIR"},
        ["P1/T1/P1_T1_T1", "P1/T1/P1_T1_MASK", "P1/T2/P1_T2_T2"],
    ),
    "BraTS-Reg": (
        {"R_1_00_0000": "R_1/R_1_00_0000_flair", "R_1_01_0106": "R_1/R_1_01_0106_flair"},
        ["R_1/R_1_00_0000_t1", "R_1/R_1_01_0106_t1ce"],
    ),
    "UTSW": ({"BT1": "BT1/brain_fl_ants"}, ["BT1/brain_t1_ants", "BT1/tumorseg_FeTS"]),
    "Mendeley MS": ({"Patient-1": "Patient-1/1-Flair"}, ["Patient-1/1-LesionSeg-Flair"]),
    "Shifts": (
        {"6_FLAIR_isovox": "flair/6_FLAIR_isovox"},
        ["t1/6_T1_isovox", "gt/6_gt_isovox", "fg_mask/6_isovox_fg_mask"],
    ),
    "masks named like scans": ({"P1": "images/P1_FLAIR"}, ["masks/P1_FLAIR"]),
    "folders named like files": (
        {"B_1": "B_1/B_1_flair.nii/00000057_brain_flair"},
        ["B_1/B_1_seg.nii/00000057_final_seg", "B_1/B_1_t1.nii/00000057_brain_t1"],
    ),
    "folders of a patient and modality": (
        {"P1": "P1_FLAIR/image", "P2": "P2_FLAIR/image"},
        ["P1_T1/image", "P2_T1/image"],
    ),
    "reformats and contrast agent": (
        {"P1": "P1/t2_flair_3d"},
        ["P1/t2_flair_3d_ND", "P1/t2_flair_3d_MPR_tra", "P1/t2_flair_3d_KM", "P1/flair_2d"],
    ),
    "operation": ({"P1_pre": "P1/pre/FLAIR", "P1_post": "P1/post/FLAIR"}, ["P1/post/seg"]),
    "times in names": (
        {"013_time01": "013/flair_time01_on_middle_space", "013_time02": "013/flair_time02"},
        ["013/ground_truth", "013/brain_mask"],
    ),
    "a data set's name": (
        {"BrainTumour_1": "BrainTumour_1_flair", "BrainTumour_2": "BrainTumour_2_flair"},
        ["BrainTumour_1_t1", "BrainTumour_2_seg"],
    ),
    "a word for masks in the data set's name": (
        {"tumor_1": "tumor_1_flair", "B_Seg_01": "B_Seg_01/B_Seg_01_flair"},
        ["tumor_1_seg", "tumor_1_t1", "B_Seg_01/B_Seg_01_t1"],
    ),
    "patients' initials": ({"FS": "FS_flair", "HR": "HR_flair", "P2": "P2_flair"}, []),
    "wrapped BIDS": (
        {"sub-1_ses-1": "raw/sub-1/ses-1/anat/sub-1_ses-1_FLAIR"},
        ["raw/sub-1/ses-1/dwi/sub-1_ses-1_dwi", "derivatives/sub-1/anat/sub-1_FLAIR"],
    ),
    "nothing says a modality": ({"P1": "P1/scan", "P2": "P2/scan"}, ["P1/tumour"]),
}


def plant(folder: Path, names) -> None:
    for name in names:
        path = folder / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def taken(folder: Path, words=("flair",)) -> dict[str, str]:
    found = find_cases(folder, parse_channels(words))
    assert not found.faults
    return {
        case.name: case.image.relative_to(folder).as_posix().removesuffix(".nii.gz")
        for case in found.cases
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cases_of_public_data_sets(tmp_path, layout):
    scans, others = LAYOUTS[layout]
    plant(tmp_path, [*scans.values(), *others])
    assert taken(tmp_path) == scans


def test_a_folder_between_two_files_does_not_part_them(tmp_path):
    scans = {"tumour_1": "tumour_1_flair", "tumour_1_more": "tumour_1_more/flair"}
    plant(tmp_path, [*scans.values(), "tumour_1_seg"])
    assert taken(tmp_path) == scans


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        ("masks", ["P1_FLAIR", "P2_FLAIR"]),
        ("labelsTr", ["B_001"]),
        ("images_segm", ["U_1_segm"]),
        (
            "HD-GLIO-AUTO-segmentation",
            ["registered/FLAIR_r2s_reg", "native/segmentation_FLAIR"],
        ),
        ("tumours", ["P1", "P2"]),
        ("T1", ["P1", "P2"]),
        ("case", ["lesion_flair", "lesion_t1"]),
        ("case", ["P1/P1_tumor_flair", "P1/P1_tumor_t1"]),
        ("case", ["P1_seg_flair", "P1_seg_t1"]),
        ("case", ["P1_tumor/P1_tumor_flair", "P1_seg_1/P1_seg_1_flair"]),
        ("case", ["tumor_0000"]),
        ("nnUNet", ["D1/imagesTr/a_0000"]),
    ],
)
def test_folders_without_scans_are_refused(tmp_path, folder, names):
    plant(tmp_path / folder, names)
    with pytest.raises(UserError):
        find_cases(tmp_path / folder)


def test_a_project_may_be_named_like_a_mask(tmp_path):
    plant(tmp_path / "segmentation", ["P1/P1_flair", "P1/P1_seg", "P1/P1_t1"])
    assert taken(tmp_path / "segmentation") == {"P1": "P1/P1_flair"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("flair=FLAIR_MPR", "P1_FLAIR_MPR"),
        ("flair=*_mpr", "P1_FLAIR_MPR"),
        ("flair=*/raw/*", "raw/P1_x"),
        ("flair=x", "raw/P1_x"),
        ("flair=flair_seg", "P1_FLAIR_seg"),
    ],
)
def test_each_scan_can_be_named(tmp_path, words, expected):
    plant(tmp_path / "P1", ["P1_FLAIR", "P1_FLAIR_MPR", "raw/P1_x", "P1_FLAIR_seg", "P1_x_seg"])
    assert list(taken(tmp_path, (words,)).values()) == [f"P1/{expected}"]


@pytest.mark.parametrize("words", ["flair=run-2_FLAIR", "flair=run-2", "flair=*run-2*"])
def test_each_scan_of_bids_can_be_named(tmp_path, words):
    plant(
        tmp_path, [f"sub-1/anat/sub-1_run-{run}_{m}" for run in (1, 2) for m in ("FLAIR", "mask")]
    )
    assert taken(tmp_path, (words,)) == {"sub-1": "sub-1/anat/sub-1_run-2_FLAIR"}


def test_an_option_does_not_name_a_mask_by_chance(tmp_path):
    plant(tmp_path, ["P1/1-Flair", "P1/1-LesionSeg-Flair", "masks/P1_Flair"])
    for words in ("flair=Flair", "flair=*Flair", "flair=*"):
        assert list(taken(tmp_path, (words,)).values()) == ["P1/1-Flair"]


def test_a_sidecar_says_the_sequence_and_the_variant(tmp_path):
    plant(tmp_path, ["P1/series_4", "P1/series_5", "P1/series_6"])
    for number, content in enumerate(
        (
            {"SeriesDescription": "Ax T2 FLAIR", "MRAcquisitionType": "2D"},
            {"SeriesDescription": "Sag FLAIR", "MRAcquisitionType": "3D"},
            {"ProtocolName": "T1 POST"},
        ),
        4,
    ):
        (tmp_path / "P1" / f"series_{number}.json").write_text(json.dumps(content))
    assert taken(tmp_path) == {"P1": "P1/series_5"}


def test_several_channels_come_from_one_folder_and_time(tmp_path):
    plant(tmp_path, ["0/orig/FLAIR", "0/orig/T1", "0/pre/FLAIR", "0/pre/T1"])
    plant(tmp_path, [f"1/1_time{n}_{modality}" for n in (1, 2) for modality in ("flair", "t1")])
    plant(tmp_path, ["2_FLAIR_bet", "2_T1_bet"])
    found = find_cases(tmp_path, parse_channels(("flair", "t1")))
    assert {case.name: [path.name[:-7] for path in case.channels] for case in found.cases} == {
        "0": ["FLAIR", "T1"],
        "1_time1": ["1_time1_flair", "1_time1_t1"],
        "1_time2": ["1_time2_flair", "1_time2_t1"],
        "2": ["2_FLAIR_bet", "2_T1_bet"],
    }
    assert {path.parent.name for path in found.cases[0].channels} == {"orig"}


def test_scans_below_a_case_belong_to_it(tmp_path):
    plant(tmp_path, ["P1/P1_flair", "P1/advanced/P1_t1", "P1/advanced/P1_other"])
    assert taken(tmp_path, ("flair", "t1")) == {"P1": "P1/P1_flair"}


def test_links_in_a_circle_end(tmp_path):
    plant(tmp_path, ["P1/P1_flair"])
    (tmp_path / "P1" / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "latest").symlink_to(tmp_path / "P1", target_is_directory=True)
    (tmp_path / "up").symlink_to(tmp_path.parent, target_is_directory=True)
    assert taken(tmp_path) == {"P1": "P1/P1_flair"}


def test_a_linked_folder_is_searched(tmp_path):
    plant(tmp_path / "elsewhere", ["P1/P1_flair"])
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "set").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert taken(tmp_path / "scans") == {"P1": "set/P1/P1_flair"}


PATTERNS = ["{0}_{1}", "{0}/{0}_{1}", "{0}/{1}", "set/{0}/{1}", "set/site/{0}/week-1/{0}_{1}"]


@settings(deadline=None, max_examples=150)
@given(
    flair=st.sampled_from(FLAIR_NAMES),
    others=st.sets(st.sampled_from(OTHER_NAMES + MASK_NAMES), max_size=6),
    pattern=st.sampled_from(PATTERNS),
    cases=st.sets(st.sampled_from(["P1", "P2", "Patient-007", "anna", "UCSF-PDGM-0004"])),
    upper=st.booleans(),
)
def test_only_flair_is_ever_taken(tmp_path_factory, flair, others, pattern, cases, upper):
    folder = tmp_path_factory.mktemp("names")
    names = {
        case: {name: pattern.format(case, name) for name in (flair, *others)} for case in cases
    }
    for own in names.values():
        plant(folder, [text.upper() if upper else text for text in own.values()])
    allowed = {own[flair].upper() if upper else own[flair] for own in names.values()}
    try:
        found = find_cases(folder)
    except UserError:
        assert not cases
        return
    paths = {c.image.relative_to(folder).as_posix().removesuffix(".nii.gz") for c in found.cases}
    assert paths <= allowed
    reported = {path for path, _ in found.ignored}
    for own in names.values():
        for text in own.values():
            path = folder / f"{text.upper() if upper else text}.nii.gz"
            used = path in {case.image for case in found.cases}
            assert used or {path, *path.parents} & reported or found.faults
    assert paths == allowed
