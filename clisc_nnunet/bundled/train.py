"""Rebuild the bundled models from nothing.

    python -m clisc_nnunet.bundled.train phantoms -o SET -n 600 --anatomy LABEL_MAPS -np 2
    python -m clisc_nnunet.bundled.train clip -i SET -o WORK
    python -m clisc_nnunet.bundled.train sam -i SET -o WORK
    python -m clisc_nnunet.bundled.train classifier -i SET -o WORK

Each command goes on where it was stopped. A finished model is written, with its card, into WORK;
`--install` puts it into the package.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from clisc_nnunet.errors import EXIT_DONE, UserError

DEFAULT_STEPS = {"clip": 6000, "sam": 4000, "classifier": 3000}
LEARNING_RATE = {"clip": 1e-3, "sam": 8e-4, "classifier": 2e-3}


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.what == "phantoms":
            _make_phantoms(arguments)
        else:
            _train(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return EXIT_DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Rebuild the bundled models from phantoms alone.", prog="clisc_train_bundled"
    )
    what = parser.add_subparsers(dest="what", required=True)
    phantoms = what.add_parser("phantoms", help="make the phantoms to train on and to choose on")
    phantoms.add_argument("-o", type=Path, required=True, help="folder of the phantoms")
    phantoms.add_argument("-n", type=int, default=600, help="number of training phantoms")
    phantoms.add_argument("--seed", type=int, default=0, help="seed of the first phantom")
    phantoms.add_argument("--anatomy", type=Path, help="label maps of heads; default: MNI152")
    phantoms.add_argument("-np", type=int, default=2, help="processes")
    for model in DEFAULT_STEPS:
        one = what.add_parser(model, help=f"train the bundled {model}")
        one.add_argument("-i", type=Path, required=True, help="folder of the phantoms")
        one.add_argument("-o", type=Path, required=True, help="checkpoints, log, finished model")
        one.add_argument("--steps", type=int, default=DEFAULT_STEPS[model])
        one.add_argument("--seed", type=int, default=0)
        one.add_argument("--threads", type=int, default=0, help="0: as many as torch wants")
        one.add_argument("--install", action="store_true", help="write into the package, too")
    return parser


def _make_phantoms(arguments: argparse.Namespace) -> None:
    from clisc_nnunet.bundled.phantom_set import HELD_OUT_SEEDS, UNSEEN_SEEDS, make_phantom_set
    from clisc_nnunet.phantoms.anatomy import load_anatomies, mni152_anatomy
    from clisc_nnunet.phantoms.settings import UNSEEN_KINDS, PhantomSettings

    mni152 = [mni152_anatomy()]
    anatomies = load_anatomies(arguments.anatomy) if arguments.anatomy else mni152
    # Held-out phantoms have anatomies of their own where there are enough.
    kept = anatomies[: len(anatomies) // 6]
    settings = PhantomSettings()
    make_phantom_set(arguments.o, HELD_OUT_SEEDS, kept or anatomies, settings, arguments.np)
    make_phantom_set(arguments.o, UNSEEN_SEEDS, mni152, UNSEEN_KINDS, arguments.np)
    seeds = range(arguments.seed, arguments.seed + arguments.n)
    make_phantom_set(arguments.o, seeds, anatomies[len(kept) :], settings, arguments.np)


def _train(arguments: argparse.Namespace) -> None:
    import torch

    from clisc_nnunet.bundled.augment import AugmentSettings
    from clisc_nnunet.bundled.export import Provenance, export_model
    from clisc_nnunet.bundled.phantom_set import HELD_OUT_SEEDS, UNSEEN_SEEDS, load_phantom_set
    from clisc_nnunet.bundled.recipes import RECIPES
    from clisc_nnunet.bundled.slice_sampler import SliceSampler
    from clisc_nnunet.bundled.training import LoopSettings, train
    from clisc_nnunet.models.weights import BUNDLED

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    held_out = load_phantom_set(arguments.i, HELD_OUT_SEEDS)
    unseen = load_phantom_set(arguments.i, UNSEEN_SEEDS)
    volumes = load_phantom_set(arguments.i)[: -len(held_out) - len(unseen)]
    print(f"{len(volumes)} phantoms to train on, {len(held_out)} held out")

    recipe = RECIPES[arguments.what]
    module, architecture = recipe.build(arguments.seed)
    augment = AugmentSettings()
    loop = LoopSettings(arguments.steps, LEARNING_RATE[arguments.what])
    sampler = SliceSampler(volumes, views=recipe.views)
    step = recipe.step(module, sampler, arguments.seed, augment)
    checkpoint = arguments.o / f"{arguments.what}.checkpoint.pt"
    curve = train(module, step, loop, checkpoint, _log_to(arguments.o / f"{arguments.what}.log"))

    figures = recipe.figures(module, held_out)
    print(figures)
    provenance = Provenance(
        # Folders of this machine mean nothing to a reader of the card.
        f"python -m clisc_nnunet.bundled.train {arguments.what} -i SET -o WORK "
        f"--steps {arguments.steps} --seed {arguments.seed}",
        arguments.seed,
        {"phantoms": len(volumes), "held_out": len(held_out)},
        {"loop": asdict(loop), "augment": asdict(augment)},
        curve[:: max(1, len(curve) // 40)],
    )
    folders = [arguments.o, *([BUNDLED] if arguments.install else [])]
    for folder in folders:
        shipped = recipe.shipped(module)
        print(export_model(arguments.what, shipped, architecture, provenance, figures, folder))


def _log_to(path: Path) -> Callable[[str], None]:
    path.parent.mkdir(parents=True, exist_ok=True)

    def report(line: str) -> None:
        print(line, flush=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    return report


if __name__ == "__main__":
    sys.exit(main())
