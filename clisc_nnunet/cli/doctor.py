"""`clisc_doctor`: what is installed, what works, and what to type where something does not."""

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
# What an import of torch raises where it is absent, broken, or lacks a library of CUDA.
NO_TORCH = (ImportError, RuntimeError, OSError)
MARKS: dict[State, str] = {"ok": "ok", "note": "--", "missing": "!!"}


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Parameters
    ----------
    topic : str
    state : str
        `ok`; `note`, worth knowing but no fault; or `missing`: something does not work without.
    found : str
    cure : str
        The line to type, or what to do.
    """

    topic: str
    state: State
    found: str
    hint: str = ""


def examine() -> list[Finding]:
    """Everything that is looked at, in the order of the screen."""
    looks: list[Callable[[], list[Finding]]] = [
        installed_packages,
        torch_works,
        trainer_resolves,
        nnunet_folders,
        bundled_weights,
        published_weights,
        device,
    ]
    return [finding for look in looks for finding in look()]


def installed_packages() -> list[Finding]:
    """Versions of Python, of this package and of those it stands on."""
    findings = [Finding("python", "ok", platform.python_version())]
    for name in ("clisc_nnunet", *PACKAGES):
        try:
            findings.append(Finding(name, "ok", version(name)))
        except PackageNotFoundError:
            findings.append(Finding(name, "missing", "not installed", f"pip install {name}"))
    return findings


def torch_works() -> list[Finding]:
    """Whether torch and torchvision fit together; if not, nnU-Net finds no trainer but its own."""
    try:
        import_module("torch")
        import_module("torchvision")
    except NO_TORCH as error:
        why = _first_line(error)
        return [Finding("torch", "missing", why, "pip install --upgrade torch torchvision")]
    return []


def trainer_resolves() -> list[Finding]:
    """Whether nnU-Net finds our trainer, and by which way."""
    from clisc_nnunet import _autoload

    try:
        find = import_module("nnunetv2.utilities.find_objects").recursive_find_trainer_class_by_name
        module = find(TRAINER).__module__
    except Exception as error:
        # Whatever keeps nnU-Net from finding it, the line to type is the same.
        here = Path(__file__).parent / "_ext"
        why = _first_line(error)
        return [Finding(TRAINER, "missing", why, f"export nnUNet_extTrainer={here}")]
    way = "by clisc_nnunet.pth" if _autoload.registered() else "by nnUNet_extTrainer"
    return [Finding(TRAINER, "ok", f"found {way} in {module}")]


def nnunet_folders() -> list[Finding]:
    """nnU-Net's three variables: set, there, and writable."""
    findings = []
    for name in NNUNET_FOLDERS:
        path = os.environ.get(name)
        if not path:
            findings.append(Finding(name, "missing", "not set", f"export {name}=/path/to/{name}"))
        elif not Path(path).is_dir():
            findings.append(Finding(name, "missing", f"{path} is no folder", f"mkdir -p {path}"))
        elif not os.access(path, os.W_OK):
            findings.append(Finding(name, "missing", f"{path} is read-only", "choose another"))
        else:
            free = shutil.disk_usage(path).free / 1e9
            findings.append(Finding(name, "ok", f"{path}, {free:.0f} GB free"))
    return findings


def bundled_weights() -> list[Finding]:
    """Whether the weights that came with the package are as they left us."""
    try:
        from clisc_nnunet.models.weights import bundled_state
    except NO_TORCH as error:
        hint = "mend torch first"
        return [Finding("bundled weights", "missing", f"not read: {_first_line(error)}", hint)]

    findings = []
    for role in ("clip", "sam", "classifier", "brain"):
        try:
            _, card = bundled_state(role)
            findings.append(Finding(f"bundled {role}", "ok", f"sha256 {card['sha256'][:12]}"))
        except UserError as error:
            hint = "pip install --force-reinstall --no-deps clisc_nnunet"
            findings.append(Finding(f"bundled {role}", "missing", error.found, hint))
    return findings


def published_weights() -> list[Finding]:
    """Weights of published models, which nobody needs for the default."""
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
            found = f"not there, {entry.megabytes} MB, downloaded on first use"
            hint = f"clisc_download_weights {entry.name}"
            findings.append(Finding(entry.name, "note", found, hint))
    return findings


def device() -> list[Finding]:
    """The device that will be used unless -device names another."""
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
    """The screen."""
    width = max(len(finding.topic) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{MARKS[finding.state]}  {finding.topic:{width}}  {finding.found}")
        if finding.hint:
            lines.append(f"    {'':{width}}  -> {finding.hint}")
    missing = sum(finding.state == "missing" for finding in findings)
    lines.append("")
    lines.append(f"{missing} to mend, see the lines with !!" if missing else "Everything is there.")
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
        description="Tells what is installed, whether nnU-Net finds our trainers, which weights "
        "are there, which device will be used, and what to type where something is missing.",
        epilog="Exit status: 0 nothing is missing; 2 something is.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
