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
FIRST_DATASET_ID = 900


@dataclass(frozen=True)
class PhantomShare:
    """Phantoms of one kind: how many, their first seed, the fraction without a tumour."""

    kind: str
    count: int
    seed: int
    tumour_free: float

    @property
    def name(self) -> str:
        """Name of the folder of these phantoms."""
        return f"{self.kind}_{self.seed}"


@dataclass(frozen=True)
class Phase:
    """A training with a schedule of its own, from the weights of the phase before.

    Parameters
    ----------
    phantoms : tuple of PhantomShare
    epochs : int
        Of 250 iterations.
    rate : float
        Initial learning rate.
    """

    phantoms: tuple[PhantomShare, ...]
    epochs: int
    rate: float


_TUMOURS = (PhantomShare("usual", 180, 100_000, 0.12), PhantomShare("aged", 140, 200_000, 0.3))
# What the network must not take for tumours: caps, wide ventricles, plaques, infarcts.
_MIMICS = (
    PhantomShare("aged", 120, 300_000, 1.0),
    PhantomShare("vascular", 120, 310_000, 0.6),
    PhantomShare("sclerosis", 60, 320_000, 0.6),
)
PHASES = (Phase(_TUMOURS, 40, 1e-2), Phase((*_TUMOURS, *_MIMICS), 32, 5e-3))
HELD_OUT = (
    PhantomShare("usual", 16, 900_000, 0.0),
    PhantomShare("unseen", 16, 950_000, 0.0),
    PhantomShare("aged", 32, 970_000, 1.0),
    PhantomShare("vascular", 32, 980_000, 1.0),
    PhantomShare("sclerosis", 32, 990_000, 1.0),
)
# Of the label maps, in order of name, so many are only measured on.
KEPT_ANATOMIES = 5


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(argv)
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str((options.o / name).absolute())
    try:
        train_network(options.o, options.anatomy, options.np, options.install)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return EXIT_DONE


def train_network(work: Path, anatomy: Path | None, processes: int, install: bool) -> Path:
    """Make the phantoms, train, measure on others, and export; returns the weights' path."""
    from clisc_nnunet.models.weights import BUNDLED

    seen, kept = _split_anatomies(work, anatomy)
    trainer: Any = None
    curve: list[dict[str, float]] = []
    for number, phase in enumerate(PHASES):
        for share in phase.phantoms:
            _make(work / share.name, share, seen, processes)
        dataset = FIRST_DATASET_ID + number
        _write_raw_dataset(work, dataset, phase)
        _plan_and_preprocess(dataset, processes)
        trainer = _train(dataset, phase, trainer)
        curve += _curve(trainer, len(curve))
    metrics = {}
    for share in HELD_OUT:
        folder = work / f"held_out_{share.name}"
        _make(folder, share, kept, processes)
        metrics[share.kind] = _measure(trainer, folder)
        print(share.kind, metrics[share.kind], flush=True)
    path = work
    for folder in [work, *([BUNDLED] if install else [])]:
        path = _export(trainer, folder, seen, curve, metrics)
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train the bundled segmentation network.")
    parser.add_argument("-o", type=Path, required=True, help="working folder")
    parser.add_argument("--anatomy", type=Path, help="label maps of heads; default: MNI152")
    parser.add_argument("-np", type=int, default=2, help="processes that make phantoms")
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


def _dataset_name(dataset: int) -> str:
    return f"Dataset{dataset:03d}_Phantoms"


def _write_raw_dataset(work: Path, dataset: int, phase: Phase) -> None:
    """nnU-Net's raw dataset of the phantoms, as links."""
    raw, count = work / "raw" / _dataset_name(dataset), 0
    for name in ("imagesTr", "labelsTr"):
        (raw / name).mkdir(parents=True, exist_ok=True)
    for share in phase.phantoms:
        for label in sorted((work / share.name / "labels").glob("*.nii.gz")):
            case = label.name.removesuffix(".nii.gz")
            image = work / share.name / "images" / case / f"{case}_flair.nii.gz"
            links = {
                raw / "labelsTr" / f"{share.name}_{case}.nii.gz": label,
                raw / "imagesTr" / f"{share.name}_{case}_0000.nii.gz": image,
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


def _plan_and_preprocess(dataset: int, processes: int) -> None:
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )

    from clisc_nnunet.dataset_conversion.small_plans import add_small_plans

    folder = Path(os.environ[PREPROCESSED]) / _dataset_name(dataset)
    if (folder / "preprocessed").exists():
        return
    extract_fingerprints([dataset], num_processes=processes)
    plan_experiments([dataset])
    add_small_plans(dataset, overwrite=True)
    preprocess(
        [dataset], "nnUNetPlansSmall", configurations=("3d_fullres",), num_processes=(processes,)
    )
    (folder / "preprocessed").touch()


def _train(dataset: int, phase: Phase, before: Any) -> Any:
    """nnU-Net's trainer after its training, which continues where it was stopped.

    It starts from the weights of the trainer of the phase before, if there is one.
    """
    import torch

    from clisc_nnunet.bundled.phantom_trainer import nnUNetTrainerPhantoms
    from clisc_nnunet.models.weights import load_into

    folder = Path(os.environ[PREPROCESSED]) / _dataset_name(dataset)
    plans = json.loads((folder / "nnUNetPlansSmall.json").read_text(encoding="utf-8"))
    # What nnUNetv2_train adds.
    plans["continue_training"] = True
    dataset_json = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    trainer = nnUNetTrainerPhantoms(plans, "3d_fullres", "all", dataset_json, torch.device("cpu"))
    trainer.num_epochs, trainer.initial_lr = phase.epochs, phase.rate
    trainer.initialize()
    if before is not None:
        before.set_deep_supervision_enabled(True)
        load_into(trainer.network, before.network.state_dict())
    latest = Path(trainer.output_folder) / "checkpoint_latest.pth"
    final = latest.with_name("checkpoint_final.pth")
    if final.exists():
        trainer.load_checkpoint(str(final))
        return trainer
    if latest.exists():
        trainer.load_checkpoint(str(latest))
    trainer.run_training()
    return trainer


def _curve(trainer: Any, first: int) -> list[dict[str, float]]:
    """Loss of each epoch, counted from `first`."""
    losses = trainer.logger.local_logger.my_fantastic_logging["train_losses"]
    return [{"epoch": first + n, "loss": round(float(v), 4)} for n, v in enumerate(losses)]


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
    trainer: Any,
    folder: Path,
    anatomy: Path | None,
    curve: list[dict[str, float]],
    metrics: dict[str, Any],
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
        for phase in PHASES
        for s in phase.phantoms
    ]
    data = {
        "phases": [asdict(phase) for phase in PHASES],
        "held_out": [asdict(share) for share in HELD_OUT],
        **make_recipe(anatomy, settings),
    }
    provenance = Provenance(
        "python -m clisc_nnunet.bundled.train_network -o WORK"
        + (" --anatomy LABEL_MAPS" if anatomy else ""),
        0,
        data,
        {"epochs": len(curve), "iterations_per_epoch": trainer.num_iterations_per_epoch},
        curve,
    )
    architecture = {"plans": plans, "dataset_json": trainer.dataset_json}
    return export_model("network", trainer.network, architecture, provenance, metrics, folder)


if __name__ == "__main__":
    sys.exit(main())
