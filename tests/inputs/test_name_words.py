import pytest
from helpers.names import FLAIR_NAMES, MASK_NAMES, OTHER_NAMES

from clisc_nnunet.inputs.name_words import (
    derivative_word,
    identity_words,
    is_derivative_folder,
    is_sorting_folder,
    is_time,
    modality_of,
    modality_of_folder,
    preference,
)


@pytest.mark.parametrize("name", FLAIR_NAMES)
def test_flair_in_any_spelling(name):
    assert (modality_of(name), derivative_word(name)) == ("flair", "")


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_no_other_sequence_is_flair(name):
    assert modality_of(name) not in ("", "flair")


@pytest.mark.parametrize("name", MASK_NAMES)
def test_masks_and_derivatives_are_known_by_a_word(name):
    assert derivative_word(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("T1_POST", "t1ce"), ("T1 pre contrast", "t1"), ("CT1", "t1ce"), ("T1 +C", "t1ce"),
        ("T1 SE without contrast", "t1"), ("T1_FLAIR", "t1"), ("T1_2019_FLAIR", "flair"),
        ("T1toFLAIR", "t1"), ("space-T1w_FLAIR", "flair"), ("FLAIR_gado", "flair"),
        ("t1ce-t1", "other"), ("T2*", "other"), ("MD_001_FLAIR", "flair"), ("patient1", ""),
    ],
)  # fmt: skip
def test_several_words(name, expected):
    assert modality_of(name) == expected


@pytest.mark.parametrize("name", ["IDH-wt_FLAIR", "FLAIR_masked", "Proband01_FLAIR", "MRI_flair"])
def test_words_that_only_resemble_those_of_masks(name):
    assert derivative_word(name) == ""


@pytest.mark.parametrize(
    ("name", "derivative"),
    [
        ("derivatives", True), ("images_segm", True), ("5_MASK", True), ("labelsTr", True),
        ("DeepBraTumIA-segmentation", True), ("lesions", True), ("gt", True), ("tumour", True),
        ("Tumour_01", False), ("BrainTumour", False), ("UCSF-PDGM-0004_nifti", False),
        ("P1_lesions", True), ("brain_tumour", False), ("HGG", False), ("week-000-1", False),
        ("WT", False),
    ],
)  # fmt: skip
def test_folders_of_masks(name, derivative):
    assert is_derivative_folder(name) == derivative


def test_kinds_of_folders():
    assert [is_sorting_folder(name) for name in ("NIFTI", "images_structural", "P1")] == [1, 1, 0]
    assert [modality_of_folder(n) for n in ("4_FLAIR", "T1", "P_FLAIR")] == ["flair", "t1", ""]
    assert [is_time(n) for n in ("week-000-1", "Timepoint_2", "0", "T1", "Utrecht")] == [1] * 4 + [
        0
    ]


def test_words_of_the_case():
    assert identity_words("BraTSReg_001_00_0000_flair") == ("bratsreg", "001", "00", "0000")
    assert identity_words("P2_AX_T2_FLAIR_bet") == ("p2",)
    assert identity_words("t1_mprage_sag_p2_iso") == ()
    assert identity_words("sub-01_run-2_FLAIR") == ("sub", "01")


def test_the_order_of_preference():
    names = [
        "3D_FLAIR", "FLAIR", "2D_FLAIR", "FLAIR_3D_KM", "FLAIR_2D_gd", "FLAIR_MPR",
        "desc-preproc_FLAIR_MPR", "space-MNI_desc-preproc_FLAIR",
    ]  # fmt: skip
    assert sorted(names, key=preference) == names
