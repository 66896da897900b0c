"""Short, seeded nnU-Net trainings in this process, small enough for two cores.

Each variant of a benchmark has its own results folder; variants may continue from a common
checkpoint.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clisc_nnunet.io.atomic_write import write_text

FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
PLANS, CONFIGURATION = "nnUNetPlansSmall", "3d_fullres"


@dataclass(frozen=True)
class Budget:
    """Length of a training; nnU-Net's default is 1000 epochs of 250 iterations."""

    epochs: int = 24
    iterations: int = 50
    validation_iterations: int = 2


def use_folders(out: Path) -> None:
    """Set nnU-Net's folders to subfolders of `out`, for this process and its children."""
    for name in FOLDERS:
        (out / name).mkdir(parents=True, exist_ok=True)
        os.environ[name] = str(out / name)
    os.environ.update(nnUNet_def_n_proc="1", OMP_WAIT_POLICY="PASSIVE")


def make_dataset(
    out: Path,
    dataset_id: int,
    scans: Mapping[str, Path],
    labels: Mapping[str, Path],
    splits: Sequence[Mapping[str, Sequence[str]]],
    clisc: Mapping[str, Any],
    spacing: float,
    stages: Path | None = None,
) -> str:
    """Make raw dataset, small plans and preprocessed data, unless they exist.

    Parameters
    ----------
    out : Path
        The folder given to `use_folders`.
    dataset_id : int
    scans, labels : mapping of case to Path
    splits : sequence of mapping
        `train` and `val` of each fold.
    clisc : mapping
        Value of the key `clisc` in dataset.json.
    spacing : float
        Spacing in millimetres to which scans are resampled.
    stages : Path, optional
        Folder with the conversion's stages, whose slices rounds show to SAM.

    Returns
    -------
    str
        Name of the dataset.
    """
    name = f"Dataset{dataset_id:03d}_CLISC"
    raw, done = out / FOLDERS[0] / name, out / FOLDERS[1] / name / "splits_final.json"
    if done.exists():
        return name
    shutil.rmtree(raw, ignore_errors=True)
    for part in ("imagesTr", "labelsTr"):
        (raw / part).mkdir(parents=True)
    for case, scan in scans.items():
        (raw / "imagesTr" / f"{case}_0000.nii.gz").symlink_to(scan.resolve())
        shutil.copy(labels[case], raw / "labelsTr" / f"{case}.nii.gz")
    if stages is not None and stages.is_dir():
        (raw / "clisc").mkdir()
        (raw / "clisc" / "stages").symlink_to(stages.resolve())
    content = {
        "channel_names": {"0": "FLAIR"},
        "labels": {"background": 0, "tumour": 1},
        "numTraining": len(scans),
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "SimpleITKIO",
        "clisc": dict(clisc),
    }
    (raw / "dataset.json").write_text(json.dumps(content, indent=1))
    which = ["-d", str(dataset_id)]
    plan = ["-c", CONFIGURATION, "--no_pp", "-npfp", "1"]
    _run(["nnUNetv2_plan_and_preprocess", *which, *plan])
    size = ["--spacing", *[str(spacing)] * 3]
    _run(["clisc_add_small_plans", *which, *size, "--overwrite"])
    small = ["-c", CONFIGURATION, "-plans_name", PLANS, "-np", "1"]
    _run(["nnUNetv2_preprocess", *which, *small])
    # Written last, as it marks the dataset as complete; nnU-Net reads its folds from this file.
    write_text(done, json.dumps([{k: list(v) for k, v in split.items()} for split in splits]))
    return name


def _run(words: Sequence[str]) -> None:
    program = Path(sys.executable).parent / words[0]
    # nnU-Net's planning requires worker processes.
    environment = {k: v for k, v in os.environ.items() if k != "nnUNet_n_proc_DA"}
    done = [str(program), *words[1:]]
    subprocess.run(done, check=True, stdout=subprocess.DEVNULL, env=environment)


class StoppedEarly(Exception):
    """Raised when a training reaches the epoch where it should stop."""


def make_trainer(
    dataset: str,
    fold: int,
    results: Path,
    base: type,
    budget: Budget,
    settings: Any = None,
    stop_before: int | None = None,
) -> Any:
    """Create a trainer as `nnUNetv2_train` does, with the given budget.

    Parameters
    ----------
    dataset : str
        Name of the dataset.
    fold : int
    results : Path
        Results folder.
    base : type
        Trainer class.
    budget : Budget
    settings : RoundSettings, optional
        Overrides those of the class.
    stop_before : int, optional
        Epoch before which `checkpoint_latest` is saved and `StoppedEarly` is raised.
    """
    folder = Path(os.environ[FOLDERS[1]]) / dataset
    os.environ.update({FOLDERS[2]: str(results), "nnUNet_n_proc_DA": "0"})

    class Variant(base):  # type: ignore[valid-type, misc]
        def on_epoch_start(self) -> None:
            if self.current_epoch == stop_before:
                self._save_latest()
                raise StoppedEarly
            super().on_epoch_start()

    if settings is not None:
        Variant.clisc_settings = settings
    Variant.__name__ = base.__name__
    plans = json.loads((folder / f"{PLANS}.json").read_text())
    plans["continue_training"] = False
    dataset_json = json.loads((folder / "dataset.json").read_text())
    trainer = Variant(plans, CONFIGURATION, fold, dataset_json, torch.device("cpu"))
    trainer.num_epochs = budget.epochs
    trainer.num_iterations_per_epoch = budget.iterations
    trainer.num_val_iterations_per_epoch = budget.validation_iterations
    return trainer


def seed_everything(seed: int) -> None:
    """Seed all generators, which nnU-Net does not; reproducible without worker processes."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the generator that batchgenerators draws from
    torch.manual_seed(seed)


def predict_scans(trainer: Any, cases: Sequence[str]) -> dict[str, np.ndarray]:
    """Tumour masks on the grids of the scans, bool (plane, row, column), as nnUNetv2_predict."""
    from nnunetv2.inference.export_prediction import (
        convert_predicted_logits_to_segmentation_with_correct_shape as to_scan_grid,
    )

    from clisc_nnunet.trainers.sliding_window import predicting_logits

    data = trainer.dataset_class(trainer.preprocessed_dataset_folder, list(cases))
    found = {}
    with predicting_logits(trainer, mirroring=True) as predict:
        for case in cases:
            image, _, _, properties = data.load_case(case)
            found[case] = (
                to_scan_grid(
                    predict(np.asarray(image[:])),
                    trainer.plans_manager,
                    trainer.configuration_manager,
                    trainer.label_manager,
                    properties,
                )
                == 1
            )
    return found
