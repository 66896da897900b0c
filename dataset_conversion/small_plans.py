"""`clisc_add_small_plans`: an nnU-Net plan small enough for a laptop or a CI machine.

nnU-Net plans for a GPU with 8 GB. Here the scans are resampled to 3 mm, so that one patch covers
most of a brain, and the network is narrow and shallow: by default it has the architecture of
the bundled phantom network, from which `nnUNetTrainerCLISC` then starts. Everything else is as
planned by nnU-Net.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clisc_nnunet.command_line import run
from clisc_nnunet.dataset_conversion.preprocessed_lists import PREPROCESSED, RAW, copy_lists
from clisc_nnunet.dataset_layout import DatasetLayout
from clisc_nnunet.errors import EXIT_DONE, UserError
from clisc_nnunet.io.atomic_write import write_json

# Feature maps are never pooled below this edge, as in nnU-Net's own planner.
SMALLEST_FEATURE_MAP = 4


@dataclass(frozen=True)
class SmallPlan:
    """Size of the small plan.

    Parameters
    ----------
    spacing : tuple of 3 float
        Millimetres; (plane, row, column) of the file, as nnU-Net reads it.
    features : tuple of int
        Channels of each stage of the U-Net, at least two stages; one convolution in the first
        stage and in the decoder, two in the others.
    largest_patch : tuple of 3 int
        In the same order; smaller for smaller scans.
    batch : int
        Patches per iteration.
    """

    spacing: tuple[float, float, float] = (3.0, 3.0, 3.0)
    features: tuple[int, ...] = (16, 32, 64, 128)
    largest_patch: tuple[int, int, int] = (48, 56, 48)
    batch: int = 2

    def __post_init__(self) -> None:
        if len(self.features) < 2:
            raise UserError(
                "--features", f"{len(self.features)} stage", "at least 2", "add a number"
            )


def small_plans(
    plans: dict[str, Any], configuration: str, plans_name: str, small: SmallPlan
) -> dict[str, Any]:
    """Small version of one configuration of a plans file.

    Parameters
    ----------
    plans : dict
        Content of `nnUNetPlans.json`; not changed.
    configuration : str
        A 3D configuration of it.
    plans_name : str
        Name of the new plans; decides the file's and the preprocessed data's name.

    Returns
    -------
    dict
        Plans with this configuration only.

    Raises
    ------
    UserError
        If the configuration is missing, not 3D, or has another network than the plain U-Net.
    """
    from nnunetv2.experiment_planning.experiment_planners.network_topology import (
        get_pool_and_conv_props,
    )

    source = _plain_3d_configuration(plans, configuration)
    # Axes of plans are in the order used for training, those of the options in that of the file.
    order = plans["transpose_forward"]
    spacing = [small.spacing[axis] for axis in order]
    median_shape = [
        round(voxels * old / new)
        for voxels, old, new in zip(
            source["median_image_size_in_voxels"], source["spacing"], spacing, strict=True
        )
    ]
    poolings = len(small.features) - 1
    # With isotropic voxels every axis is pooled alike, however flat the scans are.
    isotropic = len(set(spacing)) == 1
    smallest = 2**poolings * (SMALLEST_FEATURE_MAP if isotropic else 1)
    patch = [
        _patch_edge(voxels, small.largest_patch[axis], 2**poolings, smallest)
        for voxels, axis in zip(median_shape, order, strict=True)
    ]
    _, strides, kernels, patch_size, _ = get_pool_and_conv_props(
        spacing, patch, SMALLEST_FEATURE_MAP, poolings
    )
    stages = len(strides)

    target = copy.deepcopy(source)
    target.update(
        data_identifier=f"{plans_name}_{configuration}",
        spacing=spacing,
        median_image_size_in_voxels=median_shape,
        patch_size=[int(edge) for edge in patch_size],
        batch_size=small.batch,
    )
    if len(source["use_mask_for_norm"]) == 1:
        # The phantom network knows scans that were normalised over the brain alone.
        target["use_mask_for_norm"] = [True]
    target["architecture"]["arch_kwargs"].update(
        n_stages=stages,
        features_per_stage=list(small.features[:stages]),
        strides=[[int(step) for step in stage] for stage in strides],
        kernel_sizes=[[int(edge) for edge in stage] for stage in kernels],
        n_conv_per_stage=[1] + [2] * (stages - 1),
        n_conv_per_stage_decoder=[1] * (stages - 1),
    )
    return {**plans, "plans_name": plans_name, "configurations": {configuration: target}}


def add_small_plans(
    dataset_id: int,
    configuration: str = "3d_fullres",
    source_name: str = "nnUNetPlans",
    plans_name: str = "nnUNetPlansSmall",
    small: SmallPlan | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write small plans beside those of a planned dataset.

    Parameters
    ----------
    configuration, source_name : str
        What to make smaller.
    plans_name : str
        Name of the small plans, other than `source_name`.
    overwrite : bool
        Replace plans of this name that say something else.

    Returns
    -------
    Path
        The new file.

    Raises
    ------
    UserError
        If the dataset is not planned, or the plans exist and differ.
    """
    folder = _preprocessed_folder(dataset_id)
    if plans_name == source_name:
        raise UserError("-o-name", plans_name, f"a name other than {source_name}", "choose another")
    source = folder / f"{source_name}.json"
    if not source.is_file():
        raise UserError(
            source,
            "no such file",
            "the plans of this dataset",
            f"run nnUNetv2_plan_and_preprocess -d {dataset_id} --no_pp first",
        )
    plans = json.loads(source.read_text(encoding="utf-8"))
    target = folder / f"{plans_name}.json"
    new = small_plans(plans, configuration, plans_name, small or SmallPlan())
    write_json(target, new, overwrite=overwrite)
    raw = os.environ.get(RAW)
    if raw and (dataset := DatasetLayout(Path(raw) / folder.name)).clisc.is_dir():
        copy_lists(dataset)
    return target


def describe_next_commands(dataset_id: int, configuration: str, plans_name: str) -> str:
    """nnU-Net's commands that use the small plans on a CPU."""
    trainer = "nnUNetTrainerCLISC_20epochs"
    job = f"-tr {trainer} -p {plans_name} -device cpu"
    return f"""Next, with nnU-Net's own commands:
  nnUNetv2_preprocess -d {dataset_id} -plans_name {plans_name} -c {configuration} -np 2
  nnUNetv2_train {dataset_id} {configuration} all {job}
  nnUNetv2_predict -d {dataset_id} -c {configuration} -f all {job} -i SCANS -o OUT
nnUNetTrainerCLISC has 1000 epochs, _5epochs are a short trial. Where other programs use the same
cores, export OMP_WAIT_POLICY=PASSIVE first."""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns an exit status of `clisc_nnunet.errors`."""
    return run(_parser(), argv, _add)


def _add(namespace: argparse.Namespace) -> int:
    small = SmallPlan(
        tuple(namespace.spacing), tuple(namespace.features), tuple(namespace.patch), namespace.batch
    )
    dataset, configuration, name = namespace.d, namespace.c, namespace.o_name
    target = add_small_plans(
        dataset, configuration, namespace.p, name, small, overwrite=namespace.overwrite
    )
    new = json.loads(target.read_text(encoding="utf-8"))["configurations"][configuration]
    print(
        f"{target}: patch {new['patch_size']} of a median {new['median_image_size_in_voxels']}"
        f" at {new['spacing']} mm, batch {new['batch_size']}"
    )
    print(describe_next_commands(dataset, configuration, name))
    return EXIT_DONE


def _parser() -> argparse.ArgumentParser:
    default = SmallPlan()
    parser = argparse.ArgumentParser(
        prog="clisc_add_small_plans",
        description="Add small plans to a planned nnU-Net dataset, for computers without a GPU.",
        epilog="Exit status: 0 done; 2 bad input or call; 130 interrupted.",
    )
    parser.add_argument("-d", type=int, required=True, metavar="ID", help="dataset id")
    parser.add_argument("-c", default="3d_fullres", help="configuration (default: %(default)s)")
    parser.add_argument("-p", default="nnUNetPlans", help="plans to start from (%(default)s)")
    parser.add_argument(
        "-o-name", default="nnUNetPlansSmall", help="name of the new plans (%(default)s)"
    )
    parser.add_argument(
        "--spacing",
        type=_positive,
        nargs=3,
        default=default.spacing,
        metavar="MM",
        help="target spacing: plane, row, column (default: 3 3 3)",
    )
    parser.add_argument(
        "--patch",
        type=_positive_count,
        nargs=3,
        default=default.largest_patch,
        metavar="VOXELS",
        help="largest patch: plane, row, column (default: 48 56 48)",
    )
    parser.add_argument(
        "--features",
        type=_positive_count,
        nargs="+",
        default=default.features,
        metavar="N",
        help="channels of each stage (default: 16 32 64 128)",
    )
    parser.add_argument("--batch", type=_positive_count, default=default.batch, metavar="N")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace plans of this name that differ"
    )
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return value


def _positive_count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return value


def _patch_edge(voxels: int, largest: int, divisor: int, smallest: int) -> int:
    """Smallest multiple of the divisor that holds the scan, within the limits."""
    wanted = min(-(-voxels // divisor) * divisor, largest // divisor * divisor)
    return max(wanted, smallest)


def _plain_3d_configuration(plans: dict[str, Any], name: str) -> dict[str, Any]:
    where, known = f"plans {plans['plans_name']}", ", ".join(plans["configurations"])
    found = plans["configurations"].get(name)
    if found is None:
        raise UserError(where, f"no configuration {name}", f"one of {known}", "choose with -c")
    if len(found.get("spacing", ())) != 3:
        raise UserError(
            where, f"{name}, which is not a 3D plan", "3d_fullres or 3d_lowres", "choose with -c"
        )
    network = found["architecture"]["network_class_name"]
    if not network.endswith(".PlainConvUNet"):
        raise UserError(
            where,
            f"the network {network.rpartition('.')[2]}",
            "PlainConvUNet",
            "plan with nnU-Net's default planner and choose its plans with -p",
        )
    return found


def _preprocessed_folder(dataset_id: int) -> Path:
    root = os.environ.get(PREPROCESSED)
    if not root:
        raise UserError(PREPROCESSED, "a variable that is not set", "a folder", "export it")
    folders = sorted(Path(root).glob(f"Dataset{dataset_id:03d}_*"))
    if len(folders) != 1:
        raise UserError(
            root,
            f"{len(folders)} datasets with id {dataset_id}",
            "one",
            f"run nnUNetv2_plan_and_preprocess -d {dataset_id} --no_pp first"
            if not folders
            else "remove all but one",
        )
    return folders[0]
