"""A preprocessed nnU-Net dataset of a few small heads, created in a second, without planning."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk

NAME, PLANS, CONFIGURATION = "Dataset007_Heads", "nnUNetPlans", "3d_fullres"
CASES = [f"case_{k}" for k in range(6)]
SHAPE = (20, 28, 24)
SPACING = 6.0


def configuration(patch: list[int], spacing: list[float], dimension: int = 3) -> dict:
    """One configuration of a plan, with a network of three small stages."""
    return {
        "data_identifier": f"nnUNetPlans_{dimension}d",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": patch,
        "median_image_size_in_voxels": [20.0, 28.0, 24.0][-dimension:],
        "spacing": spacing,
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [True],
        **{
            f"resampling_fn_{what}": "resample_data_or_seg_to_shape"
            for what in ("data", "seg", "probabilities")
        },
        "resampling_fn_data_kwargs": {
            "is_seg": False,
            "order": 3,
            "order_z": 0,
            "force_separate_z": None,
        },
        "resampling_fn_seg_kwargs": {
            "is_seg": True,
            "order": 1,
            "order_z": 0,
            "force_separate_z": None,
        },
        "resampling_fn_probabilities_kwargs": {
            "is_seg": False,
            "order": 1,
            "order_z": 0,
            "force_separate_z": None,
        },
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": 3,
                "features_per_stage": [4, 8, 8],
                "conv_op": f"torch.nn.modules.conv.Conv{dimension}d",
                "kernel_sizes": [[3] * dimension] * 3,
                "strides": [[1] * dimension, [2] * dimension, [2] * dimension],
                "n_conv_per_stage": [1, 1, 1],
                "n_conv_per_stage_decoder": [1, 1],
                "conv_bias": True,
                "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimension}d",
                "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": False,
    }


def plans() -> dict:
    """Plans with all configurations supported by the trainer, and one of the cascade."""
    full = configuration([16, 24, 16], [SPACING] * 3)
    flat = configuration([24, 16], [SPACING] * 2, dimension=2)
    cascade = {"inherits_from": CONFIGURATION, "previous_stage": "3d_lowres"}
    low = {"inherits_from": CONFIGURATION, "next_stage": "3d_cascade_fullres"}
    return {
        "dataset_name": NAME,
        "plans_name": PLANS,
        "original_median_spacing_after_transp": [SPACING] * 3,
        "original_median_shape_after_transp": list(SHAPE),
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {
            CONFIGURATION: full,
            "2d": flat,
            "3d_lowres": low,
            "3d_cascade_fullres": cascade,
        },
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": dict.fromkeys(
                ("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std"), 1.0
            )
        },
    }


def dataset_json() -> dict:
    """dataset.json as written by the converter; thick planes, so that SAM gets few slices."""
    return {
        "channel_names": {"0": "FLAIR"},
        "labels": {"background": 0, "tumour": 1},
        "numTraining": len(CASES),
        "file_ending": ".nii.gz",
        "clisc": {"sam": {"name": "bundled"}, "settings": {"slices": {"plane_mm": 12.0}}},
    }


def head(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A brain with a bright ball, and the ball's mask; (plane, row, column)."""
    rng = np.random.default_rng(seed)
    at = np.indices(SHAPE)
    middle = np.array(SHAPE).reshape(3, 1, 1, 1) / 2
    brain = (((at - middle) / (middle * 0.9)) ** 2).sum(axis=0) < 1
    centre = middle + rng.uniform(-4, 4, (3, 1, 1, 1))
    ball = (((at - centre) / 3.5) ** 2).sum(axis=0) < 1
    image = brain * rng.normal(100, 8, SHAPE) + (ball & brain) * 90.0
    return image.astype(np.float32), ball & brain


def make_dataset(root: Path, cases: list[str] = CASES, *, empty: bool = False) -> Path:
    """Raw and preprocessed dataset under a folder; returns the preprocessed one."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    raw, preprocessed = root / "nnUNet_raw" / NAME, root / "nnUNet_preprocessed" / NAME
    for folder in (raw / "imagesTr", raw / "labelsTr", preprocessed / "gt_segmentations"):
        folder.mkdir(parents=True)
    for folder in (raw, preprocessed):
        (folder / "dataset.json").write_text(json.dumps(dataset_json()))
    (preprocessed / "dataset_fingerprint.json").write_text("{}")
    (preprocessed / f"{PLANS}.json").write_text(json.dumps(plans()))
    manager, worker = PlansManager(plans()), DefaultPreprocessor(verbose=False)
    for seed, case in enumerate(cases):
        image, label = head(seed)
        files = raw / "imagesTr" / f"{case}_0000.nii.gz", raw / "labelsTr" / f"{case}.nii.gz"
        for file, array in zip(files, (image, label & (not empty)), strict=True):
            picture = sitk.GetImageFromArray(array.astype(np.float32))
            picture.SetSpacing((SPACING,) * 3)
            sitk.WriteImage(picture, str(file))
        (preprocessed / "gt_segmentations" / files[1].name).write_bytes(files[1].read_bytes())
        for name in (CONFIGURATION, "2d"):
            config = manager.get_configuration(name)
            folder = preprocessed / config.data_identifier
            folder.mkdir(exist_ok=True)
            worker.run_case_save(
                str(folder / case), [str(files[0])], str(files[1]), manager, config, dataset_json()
            )
    return preprocessed
