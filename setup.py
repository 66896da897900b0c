"""The two start-up files beside the package; all else is in setup.cfg.

Python runs `clisc_nnunet.pth` when it starts, and from 3.15 on `clisc_nnunet.start` (PEP 829). They
make nnU-Net know our trainers; see clisc_nnunet/_autoload.py. setuptools has no setting for such
files.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

START_UP = ("clisc_nnunet.pth", "clisc_nnunet.start")


class BuildWithStartUp(build_py):
    """Puts the start-up files beside the package, in an editable installation too."""

    def run(self):
        """Copy them after the modules."""
        super().run()
        target = self.build_lib
        if self.editable_mode:
            # The modules stay where they are; this folder's content goes to site-packages.
            target = self.get_finalized_command("install").install_lib or target
        Path(target).mkdir(parents=True, exist_ok=True)
        for name in START_UP:
            shutil.copyfile(name, Path(target) / name)

    def get_outputs(self, include_bytecode=True):
        """Files that an uninstallation removes; editable ones are counted by the wheel alone."""
        outputs = super().get_outputs(include_bytecode)
        if not self.editable_mode:
            outputs += [str(Path(self.build_lib) / name) for name in START_UP]
        return outputs


setup(cmdclass={"build_py": BuildWithStartUp})
