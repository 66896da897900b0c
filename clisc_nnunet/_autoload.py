"""Let nnU-Net find our trainers by name, without a file of ours inside it.

`clisc_nnunet.pth` calls `register` whenever Python starts, so nothing is imported here. nnU-Net
looks for a trainer as an attribute of its own modules, the one of nnUNetTrainer first. When that
module is imported, it is given a `__getattr__` that knows our names; all else stays as it is.
"""

import sys

SEARCHED_FIRST = "nnunetv2.training.nnUNetTrainer.nnUNetTrainer"
_VARIANTS = "clisc_nnunet.trainers.variants"
TRAINERS = {
    "nnUNetTrainerCLISC": "clisc_nnunet.trainers.nnUNetTrainerCLISC",
    "nnUNetTrainerCLISC_paper": _VARIANTS,
    "nnUNetTrainerCLISC_noFilter": _VARIANTS,
    "nnUNetTrainerCLISC_2epochs": _VARIANTS,
    "nnUNetTrainerCLISC_5epochs": _VARIANTS,
    "nnUNetTrainerCLISC_10epochs": _VARIANTS,
    "nnUNetTrainerCLISC_20epochs": _VARIANTS,
    "nnUNetTrainerCLISC_50epochs": _VARIANTS,
    "nnUNetTrainerCLISC_100epochs": _VARIANTS,
    "nnUNetTrainerCLISC_250epochs": _VARIANTS,
}


def register():
    """Make our trainers known to nnU-Net in this process; calling it twice does no harm."""
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)
    if SEARCHED_FIRST in sys.modules:
        _make_known(sys.modules[SEARCHED_FIRST])


def registered():
    """Whether `register` has been called in this process."""
    return _Finder in sys.meta_path


class _Finder:
    """Finds one module of nnU-Net as the other finders do, and has a word with it once it ran."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """Spec of the module, or None for every other."""
        if name != SEARCHED_FIRST:
            return None
        others = [f for f in sys.meta_path if f is not _Finder and hasattr(f, "find_spec")]
        found = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
        return spec


class _Loader:
    """The module's own loader, but for the word that follows."""

    def __init__(self, own):
        self._own = own

    def __getattr__(self, name):
        return getattr(self._own, name)

    def exec_module(self, module):
        """Run the module, then make our trainers known to it."""
        self._own.exec_module(module)
        _make_known(module)


class _Attributes:
    """A module's `__getattr__` (PEP 562): our trainers, imported when they are asked for."""

    def __init__(self, module, before):
        self._module, self._before = module, before

    def __call__(self, name):
        if name in TRAINERS:
            from importlib import import_module

            return getattr(import_module(TRAINERS[name]), name)
        if self._before is not None:
            return self._before(name)
        raise AttributeError(f"module {self._module!r} has no attribute {name!r}")


def _make_known(module):
    before = module.__dict__.get("__getattr__")
    if not isinstance(before, _Attributes):
        module.__getattr__ = _Attributes(module.__name__, before)
