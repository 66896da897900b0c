"""Train the bundled segmentation network on phantoms alone, with nnU-Net's own trainer.

    python -m clisc_nnunet.bundled.train_network -o WORK --anatomy LABEL_MAPS -np 2

Phantoms, nnU-Net's raw and preprocessed data, checkpoints and the finished model with its card are
written into WORK; the same command continues where it was stopped. `--install` puts the model into
the package, too.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from clisc_nnunet.errors import EXIT_DONE, UserError

PREPROCESSED = "nnUNet_preprocessed"
DATASET_ID, DATASET = 900, "Dataset900_Phantoms"


@dataclass(frozen=True)
class PhantomShare:
    """Phantoms of one kind: how many, their first seed, the fraction without a tumour."""

    kind: str
    count: int
    seed: int
    tumour_free: float


# Caps and wide ventricles (`aged`) are what the network must not take for tumours.
TRAINED_ON = (PhantomShare("usual", 180, 100_000, 0.12), PhantomShare("aged", 140, 200_000, 0.3))
HELD_OUT = (
    PhantomShare("usual", 16, 900_000, 0.0),
    PhantomShare("unseen", 16, 950_000, 0.0),
    PhantomShare("aged", 32, 970_000, 1.0),
)
# Of the label maps, in order of name, so many are only measured on.
KEPT_ANATOMIES = 5
EPOCHS = 40


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(argv)
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str((options.o / name).absolute())
    try:
        train_network(options.o, options.anatomy, options.np, options.epochs, options.install)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return EXIT_DONE


def train_network(
    work: Path, anatomy: Path | None, processes: int, epochs: int, install: bool
) -> Path:
    """Make the phantoms, train, measure on others, and export; returns the weights' path."""
    from clisc_nnunet.models.weights import BUNDLED

    seen, kept = _split_anatomies(work, anatomy)
    for share in TRAINED_ON:
        _make(work / share.kind, share, seen, processes)
    _write_raw_dataset(work)
    _plan_and_preprocess(processes)
    trainer = _train(epochs)
    metrics = {}
    for share in HELD_OUT:
        folder = work / f"held_out_{share.kind}"
        _make(folder, share, kept, processes)
        metrics[share.kind] = _measure(trainer, folder)
        print(share.kind, metrics[share.kind], flush=True)
    path = work
    for folder in [work, *([BUNDLED] if install else [])]:
        path = _export(trainer, folder, seen, epochs, metrics)
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train the bundled segmentation network.")
    parser.add_argument("-o", type=Path, required=True, help="working folder")
    parser.add_argument("--anatomy", type=Path, help="label maps of heads; default: MNI152")
    parser.add_argument("-np", type=int, default=2, help="processes that make phantoms")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of 250 iterations")
    parser.add_argument("--install", action="store_true", help="write into the package, too")
    return parser


def _split_anatomies(work: Path, anatomy: Path | None) -> tuple[Path | None, Path | None]:
    """Folders of links to the label maps to train on, and to measure on."""
    if anatomy is None:
        return None, None
    maps = [*sorted(anatomy.glob("brainweb_*.nii.gz")), *sorted(anatomy.glob("synthseg_*.nii.gz"))]
    parts = {"seen": maps[KEPT_ANATOMIES:], "kept": maps[:KEPT_ANATOMIES]}
    for name, paths in parts.items():
        folder = work / "anatomy" / name
        folder.mkdir(parents=True, exist_ok=True)
        for path in [*paths, *anatomy.glob("*.json")]:
            link = folder / path.name
            if not link.exists():
                link.symlink_to(path.absolute())
    return work / "anatomy" / "seen", work / "anatomy" / "kept"


def _make(folder: Path, share: PhantomShare, anatomy: Path | None, processes: int) -> None:
    from clisc_nnunet.phantoms.phantom_dataset import make_phantom_dataset

    make_phantom_dataset(
        folder, share.count, share.seed, anatomy, 1.5, share.tumour_free, processes, share.kind
    )


def _write_raw_dataset(work: Path) -> None:
    """nnU-Net's raw dataset of the phantoms, as links."""
    raw, count = work / "raw" / DATASET, 0
    for name in ("imagesTr", "labelsTr"):
        (raw / name).mkdir(parents=True, exist_ok=True)
    for share in TRAINED_ON:
        for label in sorted((work / share.kind / "labels").glob("*.nii.gz")):
            case = label.name.removesuffix(".nii.gz")
            image = work / share.kind / "images" / case / f"{case}_flair.nii.gz"
            links = {
                raw / "labelsTr" / f"{share.kind}_{case}.nii.gz": label,
                raw / "imagesTr" / f"{share.kind}_{case}_0000.nii.gz": image,
            }
            for link, target in links.items():
                if not link.exists():
                    link.symlink_to(target.absolute())
            count += 1
    content = {
        "channel_names": {"0": "FLAIR"},
        "labels": {"background": 0, "tumour": 1},
        "numTraining": count,
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "SimpleITKIO",
    }
    (raw / "dataset.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _plan_and_preprocess(processes: int) -> None:
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )

    from clisc_nnunet.dataset_conversion.small_plans import add_small_plans

    folder = Path(os.environ[PREPROCESSED]) / DATASET
    if (folder / "preprocessed").exists():
        return
    extract_fingerprints([DATASET_ID], num_processes=processes)
    plan_experiments([DATASET_ID])
    add_small_plans(DATASET_ID, overwrite=True)
    preprocess(
        [DATASET_ID], "nnUNetPlansSmall", configurations=("3d_fullres",), num_processes=(processes,)
    )
    (folder / "preprocessed").touch()


def _train(epochs: int) -> Any:
    """nnU-Net's trainer after its training, which continues where it was stopped."""
    import torch

    from clisc_nnunet.bundled.phantom_trainer import nnUNetTrainerPhantoms

    folder = Path(os.environ[PREPROCESSED]) / DATASET
    plans = json.loads((folder / "nnUNetPlansSmall.json").read_text(encoding="utf-8"))
    # What nnUNetv2_train adds.
    plans["continue_training"] = True
    dataset_json = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    trainer = nnUNetTrainerPhantoms(plans, "3d_fullres", "all", dataset_json, torch.device("cpu"))
    trainer.num_epochs = epochs
    trainer.initialize()
    latest = Path(trainer.output_folder) / "checkpoint_latest.pth"
    final = latest.with_name("checkpoint_final.pth")
    if final.exists():
        trainer.load_checkpoint(str(final))
        return trainer
    if latest.exists():
        trainer.load_checkpoint(str(latest))
    trainer.run_training()
    return trainer


def _measure(trainer: Any, folder: Path) -> dict[str, float]:
    """Mean Dice on phantoms with a tumour; cases with a label above 1 ml on those without."""
    import numpy as np

    from clisc_nnunet.inference.volume_predictor import VolumePredictor
    from clisc_nnunet.io.volume import read_mask, read_volume
    from clisc_nnunet.metrics import dice

    trainer.set_deep_supervision_enabled(False)
    predictor = VolumePredictor.of_network(
        trainer.network, trainer.plans_manager.plans, trainer.dataset_json
    )
    scores, false_alarms = [], 0
    for label_file in sorted((folder / "labels").glob("*.nii.gz")):
        case = label_file.name.removesuffix(".nii.gz")
        scan = read_volume(folder / "images" / case / f"{case}_flair.nii.gz")
        truth = read_mask(label_file, scan.geometry)
        found = predictor.predict(scan.array, scan.geometry.spacing[::-1])
        if truth.any():
            scores.append(float(dice(found, truth)))
        else:
            false_alarms += float(found.sum()) * scan.geometry.voxel_ml > 1.0
    if not scores:
        return {"without_tumour_but_with_label": false_alarms}
    return {"dice": round(float(np.mean(scores)), 4), "lowest": round(min(scores), 4)}


def _export(
    trainer: Any, folder: Path, anatomy: Path | None, epochs: int, metrics: dict[str, Any]
) -> Path:
    from clisc_nnunet.bundled.model_card import Provenance, export_model
    from clisc_nnunet.bundled.phantom_set import make_recipe
    from clisc_nnunet.models.phantom_network import CONFIGURATION
    from clisc_nnunet.phantoms.settings import KINDS

    plans = {
        **{
            key: value
            for key, value in trainer.plans_manager.plans.items()
            if key != "continue_training"
        },
        "configurations": {
            CONFIGURATION: trainer.plans_manager.plans["configurations"]["3d_fullres"]
        },
    }
    settings = [
        replace(KINDS[s.kind], tumour=replace(KINDS[s.kind].tumour, free=s.tumour_free))
        for s in TRAINED_ON
    ]
    data = {
        "phantoms": [asdict(share) for share in TRAINED_ON],
        "held_out": [asdict(share) for share in HELD_OUT],
        **make_recipe(anatomy, settings),
    }
    losses = trainer.logger.local_logger.my_fantastic_logging["train_losses"]
    curve = [{"epoch": n, "loss": round(float(v), 4)} for n, v in enumerate(losses)]
    provenance = Provenance(
        "python -m clisc_nnunet.bundled.train_network -o WORK"
        + (" --anatomy LABEL_MAPS" if anatomy else "")
        + f" --epochs {epochs}",
        0,
        data,
        {"epochs": epochs, "iterations_per_epoch": trainer.num_iterations_per_epoch},
        curve,
    )
    architecture = {"plans": plans, "dataset_json": trainer.dataset_json}
    return export_model("network", trainer.network, architecture, provenance, metrics, folder)


if __name__ == "__main__":
    sys.exit(main())
