import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = (
    "clisc_nnunet.cli.accept_labels",
    "clisc_nnunet.cli.check_prompts",
    "clisc_nnunet.dataset_conversion.make_pseudo_dataset",
    "clisc_nnunet.dataset_conversion.small_plans",
    "clisc_nnunet.cli.doctor",
    "clisc_nnunet.cli.download_weights",
    "clisc_nnunet.cli.estimate_quality",
    "clisc_nnunet.cli.evaluate",
    "clisc_nnunet.cli.make_phantoms",
    "clisc_nnunet.trainers.export_plain_model",
)
HEAVY = ("torch", "nnunetv2", "SimpleITK", "nilearn", "matplotlib", "scipy", "skimage", "sklearn")


def _sources() -> list[Path]:
    folders = ("clisc_nnunet", "dataset_conversion", "trainers", "benchmarks")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def _copy_as_installed(target: Path) -> Path:
    """Copy the package as in an installation; returns its folder."""
    package = target / "clisc_nnunet"
    for source in _sources():
        relative = source.relative_to(ROOT)
        if relative.parts[0] == "benchmarks":
            continue
        inside = relative.relative_to("clisc_nnunet") if relative.parts[0] == package.name else None
        copy = package / (inside or relative)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(source.read_bytes())
    return package


def _lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    linter = Path(sys.executable).parent / "lint-imports"
    config = str(ROOT / "pyproject.toml")
    # The start-up file imports the package, so the path must be set before.
    return subprocess.run(
        [str(linter), "--config", config, "--no-cache"],
        env={**os.environ, "PYTHONPATH": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_arrows_go_one_way(tmp_path: Path) -> None:
    _copy_as_installed(tmp_path)
    result = _lint_imports(tmp_path)
    assert result.returncode == 0, result.stdout
    assert "0 broken" in result.stdout


@pytest.mark.parametrize(
    ("module", "line", "complaint"),
    [
        (
            "stages/roi.py",
            "import clisc_nnunet.stages.layer_cam",
            "clisc_nnunet.stages.roi -> clisc_nnunet.stages.layer_cam",
        ),
        (
            "io/volume.py",
            "import clisc_nnunet.pipeline.pseudo_label_pipeline",
            "clisc_nnunet.io.volume -> clisc_nnunet.pipeline.pseudo_label_pipeline",
        ),
        ("pipeline/result_cache.py", "import clisc_nnunet.evaluation", "opens a reference BROKEN"),
        ("inputs/find_cases.py", "import clisc_nnunet.phantoms", "one way BROKEN"),
        ("newcomer.py", "", "newcomer"),
    ],
)
def test_a_wrong_import_is_found(tmp_path: Path, module: str, line: str, complaint: str) -> None:
    package = _copy_as_installed(tmp_path)
    with (package / module).open("a") as file:
        file.write(f"\n{line}\n")
    result = _lint_imports(tmp_path)
    assert result.returncode != 0
    assert complaint in result.stdout


@pytest.mark.parametrize("module", COMMANDS)
def test_help_loads_nothing_heavy(module: str) -> None:
    # Imports are checked instead of the time, which depends on the machine.
    program = (
        f"import sys, {module} as command\n"
        "try:\n    command.main(['--help'])\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        f"print('loaded:', sorted(sys.modules.keys() & {set(HEAVY)!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("usage: clisc_")
    assert done.stdout.rstrip().endswith("loaded: []")


def test_image_files_are_read_in_one_place() -> None:
    """Code that makes labels reads image files through `io/volume.py` only."""
    readers = {"ReadImage", "ImageFileReader", "ImageSeriesReader", "nibabel", "nib"}
    found = {
        path.relative_to(ROOT).as_posix()
        for path in _sources()
        if path.relative_to(ROOT).parts[0] in ("clisc_nnunet", "dataset_conversion")
        and "evaluation" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr in readers)
        or (isinstance(node, ast.alias) and node.name.split(".")[0] in readers)
    }
    assert found == {
        "clisc_nnunet/io/sitk_images.py",
        "clisc_nnunet/io/dicom_header.py",
        "clisc_nnunet/io/dicom_volume.py",
        "clisc_nnunet/phantoms/anatomy.py",  # label maps of healthy heads
    }


def test_modules_stay_readable() -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in _sources()}
    assert len(lengths) > 50
    assert {path: n for path, n in lengths.items() if n > 400} == {}
