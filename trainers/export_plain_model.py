"""`clisc_export_plain_model`: export a trained model for nnU-Net without this package.

The network is a plain nnU-Net; only the trainer name in its checkpoints refers to the plugin. The
export replaces that name and keeps the weights, so that predictions are bit-identical. Provenance
is recorded in `clisc/` inside the exported model.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from clisc_nnunet.command_line import run
from clisc_nnunet.errors import EXIT_DONE, StorageError, UserError
from clisc_nnunet.io.atomic_write import storage_error
from clisc_nnunet.io.hashing import file_sha256

STOCK = "nnUNetTrainer"
OURS = "nnUNetTrainerCLISC"
ENTRY = "clisc"
RESULTS = "nnUNet_results"
FINAL = "checkpoint_final.pth"
FILES = ("plans.json", "dataset.json", "dataset_fingerprint.json")
# Files that nnUNetv2_export_model_to_zip expects in every fold.
FOLD_FILES = ("progress.png", "validation/summary.json")


def export_plain_model(
    source: Path,
    target: Path,
    checkpoints: Sequence[str] = (FINAL,),
    *,
    overwrite: bool = False,
) -> Path:
    """Copy a trained model under the stock trainer's name.

    Parameters
    ----------
    source : Path
        `nnUNetTrainerCLISC__PLANS__CONFIGURATION`, as written by the training.
    target : Path
        Parent folder of `nnUNetTrainer__PLANS__CONFIGURATION`.
    checkpoints : sequence of str
        Files to copy from each fold.
    overwrite : bool
        Replace an existing model.

    Returns
    -------
    Path
        The new folder, created atomically.

    Raises
    ------
    UserError
        If there is no such CLISC model, a checkpoint is missing or broken, or the target exists
        or cannot be written.
    """
    source = Path(os.path.abspath(source))  # `.` has no name; symbolic links are not resolved
    trainer, plans, configuration = _parts(source)
    folds = sorted(path for path in source.glob("fold_*") if path.is_dir())
    if not folds:
        raise UserError(source, "no fold", "at least one fold_X", "finish a training first")
    for fold in folds:
        for name in checkpoints:
            if not (fold / name).is_file():
                hint = "finish the training, or choose another checkpoint with -chk"
                raise UserError(fold / name, "no such file", "a checkpoint", hint)
    final = target / f"{STOCK}__{plans}__{configuration}"
    if final.exists() and not overwrite:
        raise UserError(final, "a model", "nothing", "choose another -o, or add --overwrite")
    if target.exists() and not target.is_dir():
        raise UserError(target, "a file", "a folder", "choose another -o")
    with _new_folder(target / f".{final.name}.part") as unfinished:
        for name in FILES:
            if (source / name).is_file():
                shutil.copyfile(source / name, unfinished / name)
        provenance = {
            "trainer": trainer,
            "folds": {
                fold.name: _copy_fold(fold, unfinished / fold.name, checkpoints) for fold in folds
            },
        }
        (unfinished / ENTRY).mkdir()
        text = json.dumps(provenance, indent=1) + "\n"
        (unfinished / ENTRY / "provenance.json").write_text(text, encoding="utf-8")
        for fold in folds:
            for report in sorted((fold / ENTRY).glob("round_*.json")):
                shutil.copyfile(report, unfinished / ENTRY / f"{fold.name}_{report.name}")
        shutil.rmtree(final, ignore_errors=True)
        os.replace(unfinished, final)
    return final


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """Create a folder to be renamed when complete; removed after an error."""
    made = [parent for parent in path.parents if not parent.exists()]
    try:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        yield path
    except BaseException as error:
        shutil.rmtree(path, ignore_errors=True)
        for parent in made:
            with suppress(OSError):
                parent.rmdir()
        if isinstance(error, NotADirectoryError):
            hint = "choose another -o"
            raise UserError(path.parent, "a file in its path", "a folder", hint) from None
        if isinstance(error, OSError) and (reported := storage_error(error)):
            raise reported from None
        raise


def _copy_fold(fold: Path, target: Path, checkpoints: Sequence[str]) -> dict[str, Any]:
    """Copy a fold; returns the entry about rounds and the hash of each checkpoint."""
    import torch

    target.mkdir()
    for name in FOLD_FILES:
        if (fold / name).is_file():
            (target / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(fold / name, target / name)
    entries = {}
    for name in checkpoints:
        # nnU-Net's checkpoints cannot be loaded with weights_only; nnU-Net unpickles them, too.
        try:
            checkpoint = torch.load(fold / name, map_location="cpu", weights_only=False)
        except OSError:
            raise
        except Exception as error:  # broken files raise various exceptions
            found = f"a file that cannot be read ({type(error).__name__})"
            hint = "copy it again, or choose another checkpoint with -chk"
            raise UserError(fold / name, found, "a checkpoint", hint) from None
        entries[name] = {"sha256": file_sha256(fold / name), **checkpoint.pop(ENTRY, {})}
        checkpoint["trainer_name"] = STOCK
        try:
            torch.save(checkpoint, target / name)
        except RuntimeError as error:  # raised by torch if the disk is full
            found = str(error).splitlines()[0][:120]
            raise StorageError(
                target / name, found, "enough disk space", "free disk space"
            ) from None
    return entries


def _parts(source: Path) -> tuple[str, str, str]:
    parts = source.name.split("__")
    if not source.is_dir() or len(parts) != 3 or not parts[0].startswith(OURS):
        raise UserError(
            source,
            "no CLISC model",
            f"a folder {OURS}...__PLANS__CONFIGURATION",
            "check -d, -c, -tr and -p, or give the folder with -i",
        )
    return parts[0], parts[1], parts[2]


def model_folder(dataset: str, configuration: str, trainer: str, plans: str) -> Path:
    """Folder of a model in nnUNet_results, following nnU-Net's naming scheme.

    Raises
    ------
    UserError
        If nnUNet_results is not set, or `dataset` is a path or matches no dataset.
    """
    root = os.environ.get(RESULTS)
    if not root:
        hint = "export nnUNet_results=..., or give the model folder with -i"
        raise UserError(RESULTS, "nothing", "nnU-Net's results folder", hint)
    if Path(dataset).name != dataset:
        raise UserError("-d", dataset, "a dataset's id or name", "give the model folder with -i")
    pattern = f"Dataset{int(dataset):03d}_*" if dataset.isdecimal() else dataset
    found = sorted(Path(root).glob(pattern))
    if len(found) != 1:
        count = "several datasets" if found else "no dataset"
        raise UserError(Path(root) / pattern, count, "one", "check -d and nnUNet_results")
    return found[0] / f"{trainer}__{plans}__{configuration}"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns an exit status of `clisc_nnunet.errors`."""
    return run(_parser(), argv, _export)


def _export(namespace: argparse.Namespace) -> int:
    if namespace.i is None and (namespace.d is None or namespace.c is None):
        hint = "give -d and -c, or -i"
        raise UserError("call", "neither -i nor -d and -c", "a model", hint)
    source = namespace.i or model_folder(namespace.d, namespace.c, namespace.tr, namespace.p)
    checkpoints = namespace.chk
    final = export_plain_model(source, namespace.o, checkpoints, overwrite=namespace.overwrite)
    print(f"{final}\npredict with it: {_predict_command(final, checkpoints)}")
    return EXIT_DONE


def _predict_command(model: Path, checkpoints: Sequence[str]) -> str:
    """Command to predict; nnU-Net defaults to five folds and the final checkpoint."""
    folds = sorted(path.name.removeprefix("fold_") for path in model.glob("fold_*"))
    words = ["nnUNetv2_predict_from_modelfolder", "-m", str(model), "-f", *folds]
    words += [] if FINAL in checkpoints else ["-chk", checkpoints[0]]
    return f"{shlex.join(words)} -i ... -o ..."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clisc_export_plain_model",
        description="Export a model trained by nnUNetTrainerCLISC under the name of the stock "
        "trainer, so that nnU-Net can predict with it where this package is not installed.",
        epilog="Exit status: 0 done; 2 bad input or call; 5 cannot write; 130 interrupted.",
    )
    parser.add_argument("-d", metavar="DATASET", help="dataset id or name")
    parser.add_argument("-c", metavar="CONFIGURATION", help="such as 3d_fullres")
    parser.add_argument("-tr", default=OURS, metavar="TRAINER", help="(default: %(default)s)")
    parser.add_argument("-p", default="nnUNetPlans", metavar="PLANS", help="(default: %(default)s)")
    parser.add_argument(
        "-i", type=Path, metavar="FOLDER", help="model folder, instead of -d and -c"
    )
    parser.add_argument("-o", type=Path, required=True, metavar="FOLDER", help="output folder")
    parser.add_argument(
        "-chk",
        nargs="+",
        default=[FINAL],
        metavar="FILE",
        help="checkpoints to copy (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing model")
    return parser


if __name__ == "__main__":
    sys.exit(main())
