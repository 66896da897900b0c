"""Packaging of the start-up file `clisc_nnunet.pth`; everything else is in setup.cfg.

Python runs `clisc_nnunet.pth` at start-up, which registers our trainers with nnU-Net (see
clisc_nnunet/_autoload.py). setuptools has no setting that installs a file into site-packages.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

START_UP = "clisc_nnunet.pth"


class BuildWithStartUp(build_py):
    """Copies the start-up file next to the package, for editable installations too."""

    def run(self):
        """Copy it after the modules."""
        super().run()
        target = self.build_lib
        if self.editable_mode:
            # Modules stay in the source tree; the content of this folder goes to site-packages.
            target = self.get_finalized_command("install").install_lib or target
        Path(target).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(START_UP, Path(target) / START_UP)

    def get_outputs(self, include_bytecode=True):
        """Files to uninstall; for an editable installation the wheel lists them itself."""
        outputs = super().get_outputs(include_bytecode)
        if not self.editable_mode:
            outputs.append(str(Path(self.build_lib) / START_UP))
        return outputs


setup(cmdclass={"build_py": BuildWithStartUp})
