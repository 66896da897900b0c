"""Label-free brain tumour segmentation in FLAIR MRI: an nnU-Net v2 plugin (CLISC).

The public names are imported at first use, since Python imports this package at every start
(`clisc_nnunet.pth`).
"""

__version__ = "0.1.0"

# Public names, each with its module; `__init__.pyi` repeats them for type checkers.
_PUBLIC = {
    "Mask": "clisc_nnunet.inference.mask",
    "PRESETS": "clisc_nnunet.settings",
    "Settings": "clisc_nnunet.settings",
    "UserError": "clisc_nnunet.errors",
    "estimate_quality": "clisc_nnunet.api",
    "evaluate": "clisc_nnunet.api",
    "load_network": "clisc_nnunet.inference.segment_image",
    "make_phantoms": "clisc_nnunet.api",
    "make_pseudo_labels": "clisc_nnunet.api",
    "segment": "clisc_nnunet.inference.segment_image",
}


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)


def __dir__():
    return [*globals(), *_PUBLIC]
