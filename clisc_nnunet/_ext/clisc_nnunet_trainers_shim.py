"""For installations whose .pth files Python passes over, such as `pip install --target`.

nnU-Net 2.8 and later looks for trainers in the folders that the variable `nnUNet_extTrainer` names,
among them this one if it is set so. The classes keep the module they are defined in.
"""

from importlib import import_module

from clisc_nnunet._autoload import TRAINERS

globals().update({name: getattr(import_module(module), name) for name, module in TRAINERS.items()})
