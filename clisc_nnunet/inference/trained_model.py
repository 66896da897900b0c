"""Find a network that nnU-Net has trained, by dataset, and check that it can segment scans."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clisc_nnunet.errors import UserError, named

RESULTS = "nnUNet_results"
FINAL = "checkpoint_final.pth"
# Between the names of trainer, plans and configuration in the name of a model's folder.
_SEPARATOR = "__"


@dataclass(frozen=True)
class NetworkChoice:
    """Which network segments: by default the bundled one."""

    model: Path | None = None
    """Folder of a trained model."""
    dataset: str | None = None
    """Dataset of a trained model; see `find_model`, also for the next three."""
    trainer: str | None = None
    plans: str | None = None
    configuration: str | None = None
    folds: tuple[str, ...] = ()
    checkpoint: str = FINAL
    strip: bool = False
    """Show a trained network the brain alone, without the skull of the scan."""

    def folder(self) -> Path | None:
        """Folder of the trained model; None for the bundled network.

        Raises
        ------
        UserError
            If there is none, or the options contradict each other.
        """
        if self.dataset is not None and self.model is not None:
            raise UserError("-d and -m", "both", "one of them", "leave one out")
        narrowed = (self.trainer, self.plans, self.configuration)
        if self.dataset is None and any(narrowed):
            raise UserError("-tr, -p or -c", "no dataset", "-d DATASET", "add -d")
        if self.dataset is None and self.model is None:
            if self.folds or self.strip or self.checkpoint != FINAL:
                where, found = "-f, -chk or --strip", "the bundled network"
                raise UserError(where, found, "a trained one", "add -d DATASET or -m FOLDER")
            return None
        return self.model if self.dataset is None else find_model(self.dataset, *narrowed)


def find_model(
    dataset: str,
    trainer: str | None = None,
    plans: str | None = None,
    configuration: str | None = None,
) -> Path:
    """Folder of the trained model of a dataset.

    Parameters
    ----------
    dataset : str
        Number (`502`) or name (`Dataset502_CLISC`) of a dataset in `$nnUNet_results`, or the path
        of a dataset's folder in any of nnU-Net's three folders.
    trainer, plans, configuration : str, optional
        Needed only where the dataset has several models.

    Raises
    ------
    UserError
        If there is no such dataset or model, or more than one.
    """
    folder = _dataset_folder(dataset)
    models = [path for path in sorted(folder.glob(f"*{_SEPARATOR}*")) if is_model(path)]
    if not models:
        hint = "train one, or check -d"
        raise UserError(folder, "no trained model", "TRAINER__PLANS__CONFIGURATION", hint)
    wanted = (trainer, plans, configuration)
    chosen = [path for path in models if _fits(path, wanted)]
    if len(chosen) == 1:
        return chosen[0]
    shown = named(path.name for path in chosen or models)
    if chosen:
        hint = "choose one with -tr, -p or -c"
        raise UserError(folder, f"{len(chosen)} trained models ({shown})", "one", hint)
    asked = _SEPARATOR.join(word or "*" for word in wanted)
    hint = "correct -tr, -p or -c, or leave them out"
    raise UserError(folder, f"no model {asked}", f"one of {shown}", hint)


def is_model(folder: Path) -> bool:
    """Whether a folder has nnU-Net's plans and at least one fold."""
    return (folder / "plans.json").is_file() and any(folder.glob("fold_*"))


def check_model(folder: Path) -> None:
    """Check that a folder is a trained model of one channel and one foreground class.

    Raises
    ------
    UserError
        If it is not.
    """
    if not is_model(folder):
        raise UserError(
            folder,
            "no trained model" if folder.is_dir() else "no such folder",
            "a folder with plans.json and fold_*",
            "give a folder like nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION",
        )
    path = folder / "dataset.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        channels, labels = len(content["channel_names"]), len(content["labels"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        expected = "nnU-Net's description of the dataset"
        raise UserError(path, f"{type(error).__name__}: {error}", expected, "restore it") from None
    if channels != 1 or labels != 2:
        raise UserError(
            folder,
            f"a network of {channels} channels and {labels} labels",
            "one channel, and the labels background and tumour",
            "use clisc_prepare_scans and nnUNetv2_predict",
        )


def chosen_folds(
    folder: Path, folds: Sequence[str] = (), checkpoint: str = FINAL
) -> tuple[str | int, ...]:
    """Folds to predict with, as nnU-Net takes them.

    Parameters
    ----------
    folder : Path
        A trained model.
    folds : sequence of str
        Numbers or `all`; by default `all` if it was trained, else every fold.
    checkpoint : str
        File of each fold.

    Raises
    ------
    UserError
        If a fold or its checkpoint does not exist.
    """
    trained = sorted(path.name.removeprefix("fold_") for path in folder.glob("fold_*"))
    usual = ["all"] if "all" in trained else trained
    chosen = list(folds) or usual
    unknown = [fold for fold in chosen if fold not in trained]
    if unknown:
        hint = "correct -f, or leave it out"
        raise UserError(folder, f"no fold {unknown[0]}", f"one of {named(trained)}", hint)
    for fold in chosen:
        path = folder / f"fold_{fold}" / checkpoint
        if not path.is_file():
            others = named(sorted(other.name for other in path.parent.glob("checkpoint_*.pth")))
            hint = "finish the training, or choose another checkpoint with -chk"
            raise UserError(path, "no such file", f"a checkpoint (here: {others or 'none'})", hint)
    return tuple(fold if fold == "all" else int(fold) for fold in chosen)


def _dataset_folder(dataset: str) -> Path:
    """Folder of a dataset with its trained models."""
    given, results = Path(dataset), os.environ.get(RESULTS)
    is_path = len(given.parts) > 1 or (given.is_dir() and not dataset.isdecimal())
    if is_path and _has_models(given):
        return given
    if is_path and not given.is_dir():
        raise UserError(given, "no such folder", "a dataset", "check -d")
    if not results:
        hint = "export it, or give the model's folder with -m"
        raise UserError(RESULTS, "a variable that is not set", "a folder", hint)
    if dataset.isdecimal():
        # The underscore keeps Dataset5020_X from being number 502.
        found = sorted(Path(results).glob(f"Dataset{int(dataset):03d}_*"))
        if len(found) > 1:
            names = named(path.name for path in found)
            raise UserError("-d", f"{len(found)} datasets {dataset} ({names})", "one", "name one")
    else:
        # A path in nnUNet_raw or nnUNet_preprocessed: the models have the same name in results.
        name = Path(os.path.abspath(given)).name
        found = [path for path in [Path(results) / name] if path.is_dir()]
    if found:
        return found[0]
    known = named(sorted(path.name for path in Path(results).glob("Dataset*")))
    hint = "train a network on it, or correct -d"
    raise UserError(f"-d {dataset}", f"no such dataset in {results}", known or "a dataset", hint)


def _has_models(folder: Path) -> bool:
    return any(is_model(path) for path in folder.glob(f"*{_SEPARATOR}*"))


def _fits(model: Path, wanted: Sequence[str | None]) -> bool:
    # Names of trainers and plans may contain single underscores, but not two.
    parts = model.name.split(_SEPARATOR)
    return len(parts) == len(wanted) and all(
        word in (None, part) for word, part in zip(wanted, parts, strict=True)
    )
