"""`clisc_doctor`: check the installation, and show how to fix what does not work."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from clisc_nnunet.command_line import run
from clisc_nnunet.errors import EXIT_BAD_INPUT, EXIT_DONE, UserError

State = Literal["ok", "note", "missing"]
TRAINER = "nnUNetTrainerCLISC"
NNUNET_FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
PACKAGES = ("nnunetv2", "torch", "torchvision", "SimpleITK", "segment-anything", "open_clip_torch")
# Errors on importing torch if it is missing, broken, or lacks a CUDA library.
NO_TORCH = (ImportError, RuntimeError, OSError)
MARKS: dict[State, str] = {"ok": "ok", "note": "--", "missing": "!!"}


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Parameters
    ----------
    state : str
        `ok`; `note` for information; `missing` if something does not work.
    hint : str
        Command to run, or what to do.
    """

    topic: str
    state: State
    found: str
    hint: str = ""


def examine() -> list[Finding]:
    """Run all checks, in the order of the output."""
    checks: list[Callable[[], list[Finding]]] = [
        installed_packages,
        torch_works,
        trainer_resolves,
        nnunet_folders,
        bundled_weights,
        published_weights,
        device,
    ]
    return [finding for check in checks for finding in check()]


def installed_packages() -> list[Finding]:
    """Versions of Python, this package and its main dependencies."""
    findings = [Finding("python", "ok", platform.python_version())]
    for name in ("clisc_nnunet", *PACKAGES):
        try:
            findings.append(Finding(name, "ok", version(name)))
        except PackageNotFoundError:
            findings.append(Finding(name, "missing", "not installed", f"pip install {name}"))
    return findings


def torch_works() -> list[Finding]:
    """Whether torch and torchvision are compatible; if not, nnU-Net finds only its own trainers."""
    try:
        import_module("torch")
        import_module("torchvision")
    except NO_TORCH as error:
        why = _first_line(error)
        return [Finding("torch", "missing", why, "pip install --upgrade torch torchvision")]
    return []


def trainer_resolves() -> list[Finding]:
    """Whether nnU-Net finds our trainer, and by which mechanism."""
    from clisc_nnunet import _autoload

    try:
        find = import_module("nnunetv2.utilities.find_objects").recursive_find_trainer_class_by_name
        module = find(TRAINER).__module__
    except Exception as error:
        # The fix is the same for all causes.
        here = Path(__file__).parent / "_ext"
        why = _first_line(error)
        return [Finding(TRAINER, "missing", why, f"export nnUNet_extTrainer={here}")]
    way = "by clisc_nnunet.pth" if _autoload.registered() else "by nnUNet_extTrainer"
    return [Finding(TRAINER, "ok", f"found {way} in {module}")]


def nnunet_folders() -> list[Finding]:
    """Whether nnU-Net's three variables are set to writable folders."""
    findings = []
    for name in NNUNET_FOLDERS:
        path = os.environ.get(name)
        if not path:
            findings.append(Finding(name, "missing", "not set", f"export {name}=/path/to/{name}"))
        elif not Path(path).is_dir():
            findings.append(Finding(name, "missing", f"{path} is not a folder", f"mkdir -p {path}"))
        elif not os.access(path, os.W_OK):
            findings.append(
                Finding(name, "missing", f"{path} is read-only", "choose another folder")
            )
        else:
            free = shutil.disk_usage(path).free / 1e9
            findings.append(Finding(name, "ok", f"{path}, {free:.0f} GB free"))
    return findings


def bundled_weights() -> list[Finding]:
    """Whether the bundled weights are intact."""
    try:
        from clisc_nnunet.models.weights import bundled_state
    except NO_TORCH as error:
        hint = "fix torch first"
        return [Finding("bundled weights", "missing", f"unreadable: {_first_line(error)}", hint)]

    findings = []
    for role in ("clip", "sam", "classifier", "brain", "network"):
        try:
            _, card = bundled_state(role)
            findings.append(Finding(f"bundled {role}", "ok", f"sha256 {card['sha256'][:12]}"))
        except UserError as error:
            hint = "pip install --force-reinstall --no-deps clisc_nnunet"
            findings.append(Finding(f"bundled {role}", "missing", error.found, hint))
    return findings


def published_weights() -> list[Finding]:
    """Weights of published models, which the defaults do not need."""
    from clisc_nnunet.models.download import offline, present
    from clisc_nnunet.models.registry import ENTRIES

    findings = []
    if offline():
        hint = "unset CLISC_OFFLINE HF_HUB_OFFLINE"
        findings.append(Finding("offline", "note", "nothing will be downloaded", hint))
    for entry in ENTRIES.values():
        path = present(entry)
        if path is not None:
            findings.append(Finding(entry.name, "ok", str(path)))
        else:
            found = f"not downloaded yet, {entry.megabytes} MB, on first use"
            hint = f"clisc_download_weights {entry.name}"
            findings.append(Finding(entry.name, "note", found, hint))
    return findings


def device() -> list[Finding]:
    """The default device."""
    try:
        torch = import_module("torch")
    except NO_TORCH:
        return []
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        memory = properties.total_memory / 1e9
        return [Finding("device", "ok", f"cuda: {properties.name}, {memory:.0f} GB")]
    if torch.backends.mps.is_available():
        return [Finding("device", "ok", "mps", "nnUNetv2_train ... -device mps")]
    hint = "nnUNetv2_train ... -device cpu, with the plans of clisc_add_small_plans"
    return [Finding("device", "note", f"cpu, {os.cpu_count()} cores, no GPU", hint)]


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def as_text(findings: Sequence[Finding]) -> str:
    """Findings as text, with the number of missing items."""
    width = max(len(finding.topic) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{MARKS[finding.state]}  {finding.topic:{width}}  {finding.found}")
        if finding.hint:
            lines.append(f"    {'':{width}}  -> {finding.hint}")
    missing = sum(finding.state == "missing" for finding in findings)
    lines.append("")
    lines.append(f"{missing} to fix, see the lines with !!" if missing else "Nothing is missing.")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; 0 if nothing is missing, else 2."""
    return run(make_parser(), argv, _report)


def _report(namespace: argparse.Namespace) -> int:
    findings = examine()
    if namespace.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        print(as_text(findings))
    return EXIT_BAD_INPUT if any(f.state == "missing" for f in findings) else EXIT_DONE


def make_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        prog="clisc_doctor",
        description="Check what is installed, whether nnU-Net finds our trainers, which weights "
        "are available and which device will be used, and show how to fix the rest.",
        epilog="Exit status: 0 nothing is missing; 2 something is missing.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
