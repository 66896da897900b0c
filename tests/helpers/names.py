"""File names of real data sets, in parts, for tests of what names say."""

FLAIR_NAMES = (
    "flair", "FLAIR", "Flair", "FlAiR", "t2f", "T2_FLAIR", "t2-flair", "AX_T2_FLAIR", "FLAIR_bet",
    "3D_FLAIR", "Sag_3D_FLAIR_CUBE", "brain_t2f", "t2_tirm_tra_dark-fluid", "FLAIR_N4",
    "t2_space_dark-fluid_sag_p2_iso", "MR_Flair", "FLAIR_to_T1", "FLAIR_brain", "T2FLAIR",
)  # fmt: skip
OTHER_NAMES = (
    "t1", "T1w", "t1ce", "T1GD", "T1c", "CT1", "3DT1", "T1_POST", "T1post", "t1n", "T2", "t2w",
    "ASL", "DWI", "ADC", "SWI", "localizer", "Sag_MPRAGE", "DTI_eddy_FA", "T1_bet", "T1_IR",
    "T1_to_FLAIR", "T1_FLAIR", "T2star", "DP", "t1ce-t1", "T2_in_FLAIR", "brain_t1_ants",
)  # fmt: skip
MASK_NAMES = (
    "seg", "Segm", "SEG", "mask", "MASK", "tumorMask", "msk", "GlistrBoost", "WT", "wmh", "core",
    "GlistrBoost_ManuallyCorrected", "LesionSeg-Flair", "FLAIR_edema", "FLAIR_lesions", "label",
    "LabelsForTraining", "gt", "gt_isovox", "roi", "FLAIR_ROI1", "tumor", "tumour_2", "FLAIR_bias",
    "prob", "dseg", "label-GM_probseg", "brain_mask", "brainmask", "desc-brain_mask", "aseg", "OT",
    "rtumorseg_manual_correction", "tumorseg_FeTS", "segmentation_FLAIR_origspace", "FLAIR-label",
    "flair_seg_mask", "mod-FLAIR_defacemask", "Segmentation.seg", "BraTS_tumor_seg", "consensus",
    "FLAIR_lesion_manual", "T2FLAIRseg", "FLAIR Segmentation-Tumor-label", "part-phase_FLAIR",
)  # fmt: skip
