import importlib
import re
import subprocess
import sys
import tarfile
from configparser import ConfigParser
from email.message import Message
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from packaging.requirements import Requirement

import clisc_nnunet

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
# Folders of this repository, and their place in an installation.
INSTALLED = {
    "clisc_nnunet": "clisc_nnunet",
    "dataset_conversion": "clisc_nnunet/dataset_conversion",
    "trainers": "clisc_nnunet/trainers",
}
WEIGHTS = "clisc_nnunet/bundled/weights"


def _build(kind: str, folder: Path, out: Path) -> Path:
    call = f"import setuptools.build_meta as b; print(b.build_{kind}({str(out)!r}))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", call],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """The wheel that pip builds from the source distribution, in separate folders."""
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    source.mkdir()
    for path in ROOT.iterdir():
        # No files of earlier builds may be included.
        if path.name not in (".git", ".venv", "build", "dist") and path.suffix != ".egg-info":
            (source / path.name).symlink_to(path)
    with tarfile.open(_build("sdist", source, folder)) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = (path for path in folder.glob("clisc_nnunet-*") if path.is_dir())
    return ZipFile(_build("wheel", unpacked, folder))


@pytest.fixture(scope="module")
def metadata(wheel: ZipFile) -> Message:
    name = f"clisc_nnunet-{clisc_nnunet.__version__}.dist-info/METADATA"
    return Parser().parsestr(wheel.read(name).decode())


def test_wheel_has_every_module(wheel: ZipFile) -> None:
    expected = {
        str(INSTALLED[folder] / path.relative_to(ROOT / folder))
        for folder in INSTALLED
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {name for name in wheel.namelist() if name.endswith(".py")} == expected


def test_wheel_has_the_bundled_weights(wheel: ZipFile) -> None:
    files = {path.name for path in (ROOT / WEIGHTS).iterdir()}
    assert {f"{name}.safetensors" for name in ("clip", "sam", "classifier")} <= files
    packed = {name.removeprefix(f"{WEIGHTS}/") for name in wheel.namelist() if WEIGHTS in name}
    assert packed == files


def test_wheel_has_the_templates_of_pages(wheel: ZipFile) -> None:
    folder = "clisc_nnunet/report/templates"
    files = {f"{folder}/{path.name}" for path in (ROOT / folder).iterdir()}
    assert files and files <= set(wheel.namelist())


def test_wheel_has_the_page_of_an_evaluation(wheel: ZipFile) -> None:
    assert "clisc_nnunet/evaluation/page.html" in wheel.namelist()


def test_wheel_has_the_licence_and_nothing_beside_the_package(wheel: ZipFile) -> None:
    info = f"clisc_nnunet-{clisc_nnunet.__version__}.dist-info"
    assert {name.split("/")[0] for name in wheel.namelist()} == {
        "clisc_nnunet",
        info,
        "clisc_nnunet.pth",
    }
    licences = {Path(name).name for name in wheel.namelist() if "/licenses/" in name}
    assert {"LICENSE", "NOTICE"} <= licences


def test_commands_exist(wheel: ZipFile) -> None:
    info = f"clisc_nnunet-{clisc_nnunet.__version__}.dist-info"
    entry_points = ConfigParser()
    entry_points.read_string(wheel.read(f"{info}/entry_points.txt").decode())
    commands = dict(entry_points["console_scripts"])
    assert sorted(commands) == [
        "clisc_accept_labels",
        "clisc_add_small_plans",
        "clisc_check_prompts",
        "clisc_doctor",
        "clisc_download_weights",
        "clisc_estimate_quality",
        "clisc_evaluate",
        "clisc_export_plain_model",
        "clisc_make_phantoms",
        "clisc_make_pseudo_dataset",
        "clisc_prepare_scans",
        "clisc_segment",
    ]
    for target in commands.values():
        module, function = target.split(":")
        with pytest.raises(SystemExit, match="0"):
            getattr(importlib.import_module(module), function)(["--help"])


def test_a_users_own_torch_may_stay(metadata: Message) -> None:
    needs = {r.name: r for r in map(Requirement, metadata.get_all("Requires-Dist"))}
    assert str(needs["nnunetv2"].specifier) == "<3,>=2.8"
    for name in ("torch", "torchvision"):
        assert [s.operator for s in needs[name].specifier] == [">="]


def test_texts_agree_on_the_version(metadata: Message) -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == metadata["Version"] == clisc_nnunet.__version__


def test_readme_names_commands_that_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    known = re.findall(r"^(\w+) =", setup["options.entry_points"]["console_scripts"], re.MULTILINE)
    commands = r"\bclisc_(?:make|add|evaluate|export|doctor|download|check|estimate|prepare)\w*"
    named = set(re.findall(commands, readme))
    assert "clisc_make_pseudo_dataset" in named
    assert named <= set(known)


def test_the_wheel_is_typed(wheel: ZipFile) -> None:
    assert {"clisc_nnunet/py.typed", "clisc_nnunet/__init__.pyi"} <= set(wheel.namelist())
