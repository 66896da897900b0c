from __future__ import annotations

import copy
import json
import subprocess
import sys

import pytest

from clisc_nnunet.dataset_conversion.small_plans import SmallPlan, main, small_plans
from clisc_nnunet.errors import EXIT_BAD_INPUT, EXIT_DONE, UserError
from clisc_nnunet.models.phantom_network import load_phantom_network, misfit

NETWORKS = "dynamic_network_architectures.architectures.unet."


def make_plans(spacing=(1.0, 1.0, 1.0), shape=(140.0, 172.0, 139.0), order=(0, 1, 2)) -> dict:
    """Plans of nnU-Net 2.8, reduced to what is needed to build a network."""
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "batch_size": 2,
        "patch_size": [128, 128, 128],
        "median_image_size_in_voxels": list(shape),
        "spacing": list(spacing),
        "use_mask_for_norm": [True],
        "architecture": {
            "network_class_name": NETWORKS + "PlainConvUNet",
            "arch_kwargs": {
                "n_stages": 6,
                "features_per_stage": [32, 64, 128, 256, 320, 320],
                "conv_op": "torch.nn.modules.conv.Conv3d",
                "kernel_sizes": [[3, 3, 3]] * 6,
                "strides": [[1, 1, 1]] + [[2, 2, 2]] * 5,
                "n_conv_per_stage": [2] * 6,
                "n_conv_per_stage_decoder": [2] * 5,
                "conv_bias": True,
                "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
    return {
        "plans_name": "nnUNetPlans",
        "transpose_forward": list(order),
        "configurations": {"3d_fullres": configuration, "2d": {"spacing": [1.0, 1.0]}},
    }


def small_configuration(plans: dict, small: SmallPlan | None = None) -> dict:
    new = small_plans(plans, "3d_fullres", "Small", small or SmallPlan())
    return new["configurations"]["3d_fullres"]


@pytest.fixture
def planned(tmp_path, monkeypatch):
    folder = tmp_path / "Dataset501_CLISC"
    folder.mkdir()
    (folder / "nnUNetPlans.json").write_text(json.dumps(make_plans()))
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    return folder


def test_patch_fits_the_scans():
    new = small_configuration(make_plans())
    assert new["spacing"] == [3.0, 3.0, 3.0]
    assert new["median_image_size_in_voxels"] == [47, 57, 46]
    assert new["patch_size"] == [48, 56, 48]
    assert new["data_identifier"] == "Small_3d_fullres"
    assert new["use_mask_for_norm"] == [True]


def test_patch_is_limited():
    new = small_configuration(make_plans(), SmallPlan(largest_patch=(32, 32, 32)))
    assert new["patch_size"] == [32, 32, 32]


@pytest.mark.parametrize("shape", [(140, 172, 139), (60, 100, 80), (300, 300, 300)])
def test_the_default_network_is_the_bundled_one_whatever_the_scans(shape):
    new = small_configuration(make_plans(shape=shape))
    assert misfit(new, 1, 2, load_phantom_network()) == ""


def test_source_stays_as_it_is():
    plans = make_plans()
    before = copy.deepcopy(plans)
    new = small_plans(plans, "3d_fullres", "Small", SmallPlan())
    assert plans == before
    assert new["plans_name"] == "Small"
    assert list(new["configurations"]) == ["3d_fullres"]


def test_axes_follow_nnunets_transposition():
    # Thin sagittal slices: nnU-Net puts the coarse axis first.
    plans = make_plans(spacing=(5.0, 1.0, 1.0), shape=(28, 172, 139), order=(2, 0, 1))
    new = small_configuration(plans, SmallPlan(spacing=(3.0, 3.0, 5.0)))
    assert new["spacing"] == [5.0, 3.0, 3.0]
    assert new["median_image_size_in_voxels"] == [28, 57, 46]


@pytest.mark.parametrize(
    ("spacing", "shape"),
    [((1.0, 1.0, 1.0), (140, 172, 139)), ((6.0, 1.0, 1.0), (23, 172, 139))],
)
def test_network_takes_the_patch(spacing, shape):
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    plan = SmallPlan(spacing=(max(spacing[0], 3.0), 3.0, 3.0), features=(4, 4, 4, 4))
    new = small_configuration(make_plans(spacing=spacing, shape=shape), plan)
    architecture = new["architecture"]
    network = get_network_from_plans(
        architecture["network_class_name"],
        architecture["arch_kwargs"],
        architecture["_kw_requires_import"],
        1,
        2,
        deep_supervision=False,
    )
    with torch.inference_mode():
        answer = network(torch.zeros(1, 1, *new["patch_size"]))
    assert tuple(answer.shape) == (1, 2, *new["patch_size"])


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ("3d_lowres", "no configuration 3d_lowres; expected one of 3d_fullres, 2d"),
        ("2d", "2d, which is not a 3D plan"),
    ],
)
def test_other_configurations(configuration, message):
    with pytest.raises(UserError, match=message):
        small_plans(make_plans(), configuration, "Small", SmallPlan())


def test_other_networks():
    plans = make_plans()
    plans["configurations"]["3d_fullres"]["architecture"]["network_class_name"] = (
        NETWORKS + "ResidualEncoderUNet"
    )
    with pytest.raises(UserError, match="found the network ResidualEncoderUNet"):
        small_configuration(plans)


def test_command_writes_plans_once(planned, capsys):
    assert main(["-d", "501"]) == EXIT_DONE
    target = planned / "nnUNetPlansSmall.json"
    assert json.loads(target.read_text())["plans_name"] == "nnUNetPlansSmall"
    assert "nnUNetv2_preprocess -d 501 -plans_name nnUNetPlansSmall" in capsys.readouterr().out
    assert main(["-d", "501"]) == EXIT_DONE  # the same again

    assert main(["-d", "501", "--spacing", "4", "4", "4"]) == EXIT_BAD_INPUT
    assert "found a file with other content" in capsys.readouterr().err
    assert main(["-d", "501", "--spacing", "4", "4", "4", "--overwrite"]) == EXIT_DONE
    assert json.loads(target.read_text())["configurations"]["3d_fullres"]["spacing"] == [4, 4, 4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-d", "502"], "found 0 datasets with id 502"),
        (["-d", "501", "-p", "Other"], "Other.json: found no such file"),
        (["-d", "501", "-o-name", "nnUNetPlans"], "a name other than nnUNetPlans"),
        (["-d", "501", "--features", "8"], "--features: found 1 stage; expected at least 2"),
    ],
)
def test_command_errors(planned, capsys, arguments, message):
    assert main(arguments) == EXIT_BAD_INPUT
    assert message in capsys.readouterr().err


def test_variable_not_set(monkeypatch, capsys):
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)
    assert main(["-d", "501"]) == EXIT_BAD_INPUT
    assert "nnUNet_preprocessed: found a variable that is not set" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--spacing", "3", "0", "3"], ["--features", "-1"]])
def test_numbers_must_be_positive(arguments, capsys):
    with pytest.raises(SystemExit):
        main(["-d", "501", *arguments])
    assert "is not positive" in capsys.readouterr().err


def test_module_imports_nothing_heavy():
    code = (
        "import sys, clisc_nnunet.dataset_conversion.small_plans;"
        "print({'torch', 'nnunetv2', 'SimpleITK'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_lists_of_the_raw_dataset_are_copied(planned, monkeypatch):
    raw = planned.parent / "raw" / planned.name / "clisc"
    raw.mkdir(parents=True)
    (raw / "exclude.txt").write_text("a")
    monkeypatch.setenv("nnUNet_raw", str(raw.parents[1]))
    assert main(["-d", "501"]) == EXIT_DONE
    assert (planned / "clisc" / "exclude.txt").read_text() == "a"
