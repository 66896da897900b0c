"""Register our trainers with nnU-Net, without copying files into its package.

`clisc_nnunet.pth` calls `register` at every start of Python, so this module imports nothing heavy.
nnU-Net looks up a trainer as an attribute of its own modules, first of that of nnUNetTrainer. When
that module is imported, an import hook adds a `__getattr__` that resolves our trainers' names.
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
    """Register our trainers with nnU-Net in this process; repeated calls have no effect."""
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)
    if SEARCHED_FIRST in sys.modules:
        _add_trainers(sys.modules[SEARCHED_FIRST])


def registered():
    """Whether `register` has been called in this process."""
    return _Finder in sys.meta_path


class _Finder:
    """Meta-path finder that registers our trainers once nnU-Net's trainer module was imported."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """Spec of nnU-Net's trainer module with our loader; None for other modules."""
        if name != SEARCHED_FIRST:
            return None
        others = [f for f in sys.meta_path if f is not _Finder and hasattr(f, "find_spec")]
        found = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
        return spec


class _Loader:
    """Delegates to the original loader, then registers our trainers."""

    def __init__(self, original):
        self._original = original

    def __getattr__(self, name):
        return getattr(self._original, name)

    def exec_module(self, module):
        """Execute the module, then add our trainers."""
        self._original.exec_module(module)
        _add_trainers(module)


class _Attributes:
    """A module's `__getattr__` (PEP 562) that imports our trainers on demand."""

    def __init__(self, module, fallback):
        self._module, self._fallback = module, fallback

    def __call__(self, name):
        if name in TRAINERS:
            from importlib import import_module

            return getattr(import_module(TRAINERS[name]), name)
        if self._fallback is not None:
            return self._fallback(name)
        raise AttributeError(f"module {self._module!r} has no attribute {name!r}")


def _add_trainers(module):
    existing = module.__dict__.get("__getattr__")
    if not isinstance(existing, _Attributes):
        module.__getattr__ = _Attributes(module.__name__, existing)
