"""How nnU-Net finds our trainers, for every kind of installation."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from clisc_nnunet import _autoload
from clisc_nnunet.trainers import nnUNetTrainerCLISC as module
from clisc_nnunet.trainers import variants

ROOT = Path(__file__).resolve().parent.parent
FIND = (
    "from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find\n"
    "print(find({name!r}).__module__)"
)


def python(code, *, environment=None, program=sys.executable, folder=None):
    """Output of a program run in a folder from which our package cannot be imported by accident."""
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "nnUNet_extTrainer")}
    done = subprocess.run(
        [str(program), "-c", code],
        env={**clean, **(environment or {})},
        cwd=folder or sysconfig.get_path("stdlib"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def defined_trainers():
    found = {
        name
        for where in (module, variants)
        for name, thing in vars(where).items()
        if name.startswith("nnUNetTrainerCLISC") and isinstance(thing, type)
    }
    return found


def test_the_table_has_every_trainer():
    assert set(_autoload.TRAINERS) == defined_trainers()


@pytest.mark.parametrize("name", _autoload.TRAINERS)
def test_nnunet_finds_it_by_name_and_it_pickles(name):
    found = recursive_find_trainer_class_by_name(name)
    assert found.__name__ == name
    assert pickle.loads(pickle.dumps(found)) is found


def test_stock_trainers_are_found_as_before():
    stock = recursive_find_trainer_class_by_name("nnUNetTrainer")
    assert stock.__module__ == _autoload.SEARCHED_FIRST
    assert recursive_find_trainer_class_by_name("nnUNetTrainer_5epochs").__name__.endswith(
        "5epochs"
    )


def test_start_up_imports_nothing_heavy():
    loaded = python("import sys; print(*sys.modules)").split()
    assert "clisc_nnunet._autoload" in loaded
    ours = [name for name in loaded if name.split(".")[0] in ("clisc_nnunet", "nnunetv2", "torch")]
    assert sorted(ours) == ["clisc_nnunet", "clisc_nnunet._autoload"]


@pytest.fixture
def dummy(tmp_path):
    """Folders with a dummy nnU-Net package and with ours, not installed."""
    package = tmp_path / "nnunetv2" / "training" / "nnUNetTrainer"
    package.mkdir(parents=True)
    for folder in (package, package.parent, package.parent.parent):
        (folder / "__init__.py").touch()
    (package / "nnUNetTrainer.py").write_text("class nnUNetTrainer: pass\n")
    return tmp_path


def test_a_broken_plugin_leaves_stock_nnunet_alone(dummy):
    code = (
        "import sys; sys.path.insert(0, {dummy!r})\n"
        "from clisc_nnunet import _autoload; _autoload.register(); _autoload.register()\n"
        "_autoload.TRAINERS = {{'nnUNetTrainerCLISC': 'clisc_nnunet.nowhere'}}\n"
        "from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as module\n"
        "print(hasattr(module, 'nnUNetTrainer'), hasattr(module, 'other'))\n"
        "try:\n    module.nnUNetTrainerCLISC\n"
        "except ImportError as error:\n    print(error)"
    )
    output = python(code.format(dummy=str(dummy))).splitlines()
    assert output[0] == "True False"
    assert "clisc_nnunet.nowhere" in output[1]


def test_without_nnunet_nothing_happens():
    code = (
        "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]\n"
        "sys.meta_path[:] = [f for f in sys.meta_path if 'ditable' not in str(f)]\n"
        "try:\n    import nnunetv2.training.nnUNetTrainer.nnUNetTrainer\n"
        "except ModuleNotFoundError as error:\n    print(error)"
    )
    assert python(code) == "No module named 'nnunetv2'"


def test_a_users_own_trainers_keep_working(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer\n"
        "class nnUNetTrainerMine(nnUNetTrainer): pass\n"
    )
    code = FIND.format(name="nnUNetTrainerMine") + "\n" + FIND.format(name="nnUNetTrainerCLISC")
    output = python(code, environment={"nnUNet_extTrainer": str(tmp_path)})
    assert output.splitlines()[-2:] == ["mine", "clisc_nnunet.trainers.nnUNetTrainerCLISC"]


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """An environment with the packages of this one, except our own."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    # A path file adds the folder, but path files inside it are ignored, including ours.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python", site


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the sources, which builds may modify."""
    folder = tmp_path_factory.mktemp("source") / "clisc_nnunet"
    away = shutil.ignore_patterns(".git", ".venv", "build", "*.egg-info", "demo_out", ".*_cache")
    shutil.copytree(ROOT, folder, ignore=away)
    return str(folder)


def install(*words, program):
    done = subprocess.run(
        [str(program), "-m", "pip", *words], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("form", ["plain", "editable"])
def test_installed_it_is_found_and_uninstalled_it_leaves_nothing(bare, source, form):
    program, site = bare
    before = sorted(p.name for p in site.iterdir())
    words = ["-e"] if form == "editable" else []
    install("install", "-q", "--no-deps", "--no-build-isolation", *words, source, program=program)
    assert (site / "clisc_nnunet.pth").is_file()
    found = python(FIND.format(name="nnUNetTrainerCLISC_paper"), program=program)
    assert found == "clisc_nnunet.trainers.variants"
    install("uninstall", "-q", "-y", "clisc_nnunet", program=program)
    assert sorted(p.name for p in site.iterdir()) == before


@pytest.mark.slow
def test_in_a_target_folder_one_variable_does_it(bare, source, tmp_path):
    program, _ = bare
    words = ["install", "-q", "--no-deps", "--no-build-isolation", "--target", str(tmp_path)]
    install(*words, source, program=program)
    environment = {
        "PYTHONPATH": str(tmp_path),
        "nnUNet_extTrainer": str(tmp_path / "clisc_nnunet" / "_ext"),
    }
    code = FIND.format(name="nnUNetTrainerCLISC")
    found = python(code, program=program, environment=environment)
    assert found.splitlines()[-1] == "clisc_nnunet.trainers.nnUNetTrainerCLISC"
