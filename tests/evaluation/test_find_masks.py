"""The masks of public data sets, by the names of their cases; files are empty."""

import pytest

from clisc_nnunet.errors import UserError
from clisc_nnunet.evaluation.find_masks import find_masks
from clisc_nnunet.evaluation.mask_pairs import renamed


@pytest.fixture
def masks_of(tmp_path):
    def find(*names, **options):
        for name in names:
            path = tmp_path / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        found = find_masks(tmp_path, **options)
        return {
            case: path.relative_to(tmp_path).as_posix().removesuffix(".nii.gz")
            for case, path in found.items()
        }

    return find


@pytest.mark.parametrize(
    ("masks", "others"),
    [
        ({"EGD-1": "S/EGD-1/5_MASK/NIFTI/MASK"}, ["S/EGD-1/4_FLAIR/NIFTI/FLAIR"]),
        (
            {"U-4_nifti": "U-4_nifti/U-4_tumor_segmentation"},
            ["U-4_nifti/U-4_brain_parenchyma_segmentation", "U-4_nifti/U-4_FLAIR_bias"],
        ),
        (
            {"P_3_Timepoint_1": "P_3/Timepoint_1/P_3_Timepoint_1_tumorMask"},
            ["P_3/Timepoint_1/P_3_Timepoint_1_brain_t2f"],
        ),
        ({"sub-1_ses-1": "derivatives/sub-1/ses-1/sub-1_ses-1_msk"}, ["sub-1/ses-1/anat/x_FLAIR"]),
        ({"Utrecht_0": "training/Utrecht/0/wmh"}, ["training/Utrecht/0/orig/FLAIR"]),
        (
            {"P-1": "P-1/1-LesionSeg-Flair"},
            ["P-1/1-LesionSeg-T1", "P-1/1-LesionSeg-T2", "P-1/1-T1"],
        ),
        ({"1_time1": "1/1_time1_seg", "1_time2": "1/1_time2_seg"}, ["1/1_time1_flair"]),
        ({"B_001": "labelsTr/B_001"}, ["imagesTr/B_001"]),
        ({"P1": "P1_msk"}, ["P1", "P1_flair", "P2_flair"]),
        (
            {"pat_1": "H/pat_1/VSD.Brain_3more.OT.5/VSD.Brain_3more.OT.5"},
            ["H/pat_1/MR_T1.4/MR_T1.4"],
        ),
        ({"6_FLAIR_isovox": "6_FLAIR_isovox"}, []),  # a folder of predictions
    ],
)
def test_masks_of_public_data_sets(masks_of, masks, others):
    assert masks_of(*masks.values(), *others) == masks


def test_several_masks_need_a_name(masks_of):
    names = ("P/rtumorseg_manual_correction", "P/tumorseg_FeTS", "P/brain_t1_ants")
    with pytest.raises(UserError, match=r"several masks of P \(rtumorseg.*--mask-name"):
        masks_of(*names)
    assert masks_of(mask_name="FeTS") == {"P": names[1]}
    assert masks_of(mask_name="*manual*") == {"P": names[0]}
    with pytest.raises(UserError, match=r"no mask among 3 files that is named \.\.\.absent"):
        masks_of(mask_name="absent")


def test_a_mask_beside_the_folder_of_its_case_is_one_too_many(masks_of):
    with pytest.raises(UserError, match=r"several masks of P \(P_seg\.nii\.gz"):
        masks_of("P_seg", "P/P_seg")


def test_a_folder_of_scans_has_no_masks(masks_of):
    with pytest.raises(UserError, match="no mask among 2 files"):
        masks_of("a/a_flair", "a/a_t1")


def test_references_are_matched_by_the_words_of_the_case(tmp_path):
    references = {"6_gt_isovox": tmp_path / "6", "7": tmp_path / "7", "8_gt": tmp_path / "8"}
    names = renamed(references, ["6_FLAIR_isovox", "7", "8_FLAIR_a", "8_FLAIR"])
    assert list(names) == ["6_FLAIR_isovox", "7", "8_FLAIR"]
    assert list(renamed(references, ["8_FLAIR_bet", "8_t1"])) == ["6_gt_isovox", "7", "8_gt"]
