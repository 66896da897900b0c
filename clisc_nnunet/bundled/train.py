"""Train the bundled models from scratch.

    python -m clisc_nnunet.bundled.train phantoms -o SET -n 600 --anatomy LABEL_MAPS -np 2
    python -m clisc_nnunet.bundled.train clip -i SET -o WORK
    python -m clisc_nnunet.bundled.train sam -i SET -o WORK
    python -m clisc_nnunet.bundled.train classifier -i SET -o WORK
    python -m clisc_nnunet.bundled.train brain -i SET -o WORK

An interrupted command resumes when called again. The trained model and its card are written to
WORK; `--install` also copies them into the package, and `--go-on` starts from the shipped weights.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clisc_nnunet.command_line import RUN_AGAIN, add_processes, run
from clisc_nnunet.errors import EXIT_DONE

if TYPE_CHECKING:
    from clisc_nnunet.bundled.training_tasks import TrainingTask
    from clisc_nnunet.phantoms.anatomy import Anatomy

MODELS = ("clip", "sam", "classifier", "brain")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return run(_parser(), argv, _make_phantoms_or_train, interrupted=RUN_AGAIN)


def _make_phantoms_or_train(arguments: argparse.Namespace) -> int:
    if arguments.what == "phantoms":
        _make_phantoms(arguments)
    else:
        _train(arguments)
    return EXIT_DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Train the bundled models from phantoms only.", prog="clisc_train_bundled"
    )
    what = parser.add_subparsers(dest="what", required=True)
    phantoms = what.add_parser("phantoms", help="make training and held-out phantoms")
    phantoms.add_argument("-o", type=Path, required=True, help="folder of the phantoms")
    phantoms.add_argument("-n", type=int, default=600, help="number of training phantoms")
    phantoms.add_argument("--heads", type=int, default=240, help="number of training heads")
    phantoms.add_argument("--seed", type=int, default=0, help="seed of the first phantom")
    phantoms.add_argument(
        "--anatomy", type=Path, help="folder of label maps of heads; default: MNI152"
    )
    add_processes(phantoms)
    for model in MODELS:
        one = what.add_parser(model, help=f"train the bundled {model}")
        one.add_argument("-i", type=Path, required=True, help="folder of the phantoms")
        one.add_argument("-o", type=Path, required=True, help="checkpoints, log, trained model")
        one.add_argument("--steps", type=int, help="default: depends on the model")
        one.add_argument("--rate", type=float, help="learning rate; default: depends on the model")
        one.add_argument("--seed", type=int, default=0)
        one.add_argument(
            "--go-on",
            action="store_true",
            help="start from the shipped weights; the card keeps their history",
        )
        one.add_argument("--threads", type=int, default=0, help="0: default of torch")
        one.add_argument("--install", action="store_true", help="also write into the package")
    return parser


def _make_phantoms(arguments: argparse.Namespace) -> None:
    from clisc_nnunet.bundled.phantom_set import (
        HELD_OUT_HEADS,
        HELD_OUT_SEEDS,
        UNSEEN_SEEDS,
        make_phantom_set,
        make_recipe,
        record_recipe,
    )
    from clisc_nnunet.models.brain_unet import TinyBrainConfig
    from clisc_nnunet.phantoms.anatomy import load_anatomies, mni152_anatomy
    from clisc_nnunet.phantoms.settings import HEADS, UNSEEN_KINDS, PhantomSettings

    folder, processes = arguments.o, arguments.processes
    recipe = make_recipe(arguments.anatomy, [PhantomSettings(), UNSEEN_KINDS, HEADS])
    record_recipe(folder, recipe, training=arguments.n > 0 or arguments.heads > 0)

    def split(spacing_mm: float) -> tuple[list[Anatomy], list[Anatomy]]:
        """Anatomies for training and for held-out phantoms; disjoint if there are enough."""
        if not arguments.anatomy:
            mni152 = [mni152_anatomy(spacing_mm)]
            return mni152, mni152
        anatomies = load_anatomies(arguments.anatomy, spacing_mm)
        kept = len(anatomies) // 6
        return anatomies[kept:], anatomies[:kept] or anatomies

    seen, kept = split(1.5)
    make_phantom_set(folder, HELD_OUT_SEEDS, kept, PhantomSettings(), processes)
    make_phantom_set(folder, UNSEEN_SEEDS, [mni152_anatomy()], UNSEEN_KINDS, processes)
    seeds = range(arguments.seed, arguments.seed + arguments.n)
    make_phantom_set(folder, seeds, seen, PhantomSettings(), processes)

    seen, kept = split(TinyBrainConfig().spacing_mm)
    make_phantom_set(folder, HELD_OUT_HEADS, kept, HEADS, processes, "head")
    seeds = range(arguments.seed, arguments.seed + arguments.heads)
    make_phantom_set(folder, seeds, seen, HEADS, processes, "head")


def _train(arguments: argparse.Namespace) -> None:
    import torch

    from clisc_nnunet.bundled.augmentation import AugmentSettings
    from clisc_nnunet.bundled.model_card import Provenance, export_model
    from clisc_nnunet.bundled.phantom_set import HELD_OUT_KEY, read_recipe
    from clisc_nnunet.bundled.training_loop import train
    from clisc_nnunet.bundled.training_tasks import TRAINING_TASKS
    from clisc_nnunet.models.weights import BUNDLED

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    task = TRAINING_TASKS[arguments.what]
    held_out = {name: task.load(arguments.i, seeds) for name, seeds in task.held_out.items()}
    phantoms = task.load(arguments.i, None)
    sizes = {name: len(kept) for name, kept in held_out.items()}
    print(f"{len(phantoms)} training phantoms, held out: {sizes}")

    module, architecture = task.build(arguments.seed)
    history = load_shipped_weights(arguments.what, task, module) if arguments.go_on else []
    augment = AugmentSettings()
    loop = replace(
        task.loop,
        steps=arguments.steps or task.loop.steps,
        learning_rate=arguments.rate or task.loop.learning_rate,
    )
    step = task.step(module, task.source(phantoms), arguments.seed, augment)
    checkpoint = arguments.o / f"{arguments.what}.checkpoint.pt"
    data = read_recipe(arguments.i)
    made_with = {
        "seed": arguments.seed,
        **asdict(loop),
        **asdict(augment),
        "phantoms": len(phantoms),
        **{key: value for key, value in data.items() if key != HELD_OUT_KEY},
        "started from": history[-1]["sha256"] if history else "nothing",
    }
    log = _log_to(arguments.o / f"{arguments.what}.log")
    curve = train(module, step, loop, checkpoint, log, made_with)

    metrics = {name: task.metrics(module, kept) for name, kept in held_out.items()}
    print(metrics)
    provenance = Provenance(
        # Placeholders instead of local folders.
        f"python -m clisc_nnunet.bundled.train {arguments.what} -i SET -o WORK "
        f"--steps {loop.steps} --rate {loop.learning_rate:g} --seed {arguments.seed}"
        + (" --go-on" if arguments.go_on else ""),
        arguments.seed,
        {"phantoms": len(phantoms), **sizes, **data},
        {"loop": asdict(loop), "augment": asdict(augment)},
        curve[:: max(1, len(curve) // 40)],
        history,
    )
    folders = [arguments.o, *([BUNDLED] if arguments.install else [])]
    for folder in folders:
        shipped = task.shipped(module)
        print(export_model(arguments.what, shipped, architecture, provenance, metrics, folder))


def load_shipped_weights(name: str, task: TrainingTask, module: Any) -> list[dict[str, Any]]:
    """Load the shipped weights into a module; returns their training history, oldest first."""
    from clisc_nnunet.models.weights import bundled_state, load_strictly

    state, card = bundled_state(name)
    load_strictly(task.shipped(module), state, f"bundled {name}")
    keys = ("sha256", "command", "seed", "data", "training", "versions", "figures_on_phantoms")
    return [*card.get("history", []), {key: card[key] for key in keys}]


def _log_to(path: Path) -> Callable[[str], None]:
    path.parent.mkdir(parents=True, exist_ok=True)

    def report(line: str) -> None:
        print(line, flush=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    return report


if __name__ == "__main__":
    sys.exit(main())
