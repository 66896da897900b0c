"""The whole conversion: find scans, load models, run the pipeline, write the dataset."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clisc_nnunet.casework import Casework
from clisc_nnunet.dataset_conversion.handed_back import add_to_trusted, handed_back
from clisc_nnunet.dataset_conversion.layouts import InputFolder, find_cases
from clisc_nnunet.dataset_conversion.nnunet_dataset import (
    CLISC_FOLDER,
    FILE_ENDING,
    dataset_folder,
    describe_next_commands,
    place_image,
    write_dataset_json,
    write_image_with_zero_background,
)
from clisc_nnunet.dataset_conversion.request import (
    Request,
    check,
    chosen_crews,
    chosen_device,
    chosen_models,
    chosen_settings,
)
from clisc_nnunet.dataset_conversion.run_record import run_record, trainer_key
from clisc_nnunet.dataset_conversion.slice_label_table import read_slice_labels, slice_label_table
from clisc_nnunet.errors import NoTumourError
from clisc_nnunet.outcome import CaseOutcome, summary, to_csv
from clisc_nnunet.pipeline import make_pseudo_labels
from clisc_nnunet.report.overview import overview
from clisc_nnunet.report.report_page import write_report
from clisc_nnunet.report.sidecar import write_sidecars
from clisc_nnunet.slices import background_value
from clisc_nnunet.store import Store, write_text
from clisc_nnunet.volume import read_volume


@dataclass(frozen=True)
class Conversion:
    """What a conversion came to."""

    folder: Path
    outcomes: tuple[CaseOutcome, ...]
    text: str
    """Table and next commands, for the screen."""
    failures: Mapping[str, str]
    """Cases that were set aside, with the reason."""

    @property
    def failed(self) -> int:
        """Number of cases that failed."""
        return len(self.failures)


def convert(request: Request, told: list[CaseOutcome] | None = None) -> Conversion:
    """Turn a folder of unlabelled scans into an nnU-Net raw dataset.

    Parameters
    ----------
    request : Request
    told : list, optional
        Receives the outcome of each case, also where no dataset comes of it.

    Raises
    ------
    UserError
        For anything the user can mend; an existing dataset is left as it was.
    """
    started = time.monotonic()
    settings = chosen_settings(request)
    check(request)
    found = find_cases(request.scans)
    print(_describe(found), flush=True)
    given = read_slice_labels(request.slice_labels) if request.slice_labels else None
    device = chosen_device(request.device)
    names = chosen_models(request)
    names.load(str(device))  # weights that are not there are told before anything is written
    folder = dataset_folder(request.dataset_id, request.name, request.root, resume=request.goes_on)
    clisc, labels = folder / CLISC_FOLDER, folder / "labelsTr"
    store = Store((clisc / "stages").absolute())
    scans = {case.name: case.image.absolute() for case in found.cases}
    if request.retry_failed:
        scans = _of_earlier_run(scans, store)
    trusted = handed_back(folder, scans, store)
    scans = dict(sorted(scans.items())[request.part :: request.parts])
    trusted = {case: outcome for case, outcome in trusted.items() if case in scans}
    write_text(clisc / "settings.json", settings.to_json() + "\n")
    store.remove_leftovers()

    scan_crew, model_crew = chosen_crews(request, device)
    with scan_crew, model_crew:
        work = Casework(
            names,
            settings,
            store,
            device,
            clisc.absolute(),
            scan_crew,
            model_crew,
            given,
            share=request.parts > 1,
            retry=request.retry_failed,
            empty_labels=request.keep_empty,
        )
        make_pseudo_labels(scans, labels.absolute(), work, trusted, request.last)
    if request.only_stage:
        text = f"part {request.part} of {request.parts}: {request.last} done for {len(scans)} cases"
        return Conversion(folder, tuple(work.outcomes), text, work.ledger.failures)

    outcomes = work.outcomes
    if told is not None:
        told.extend(outcomes)
    write_text(clisc / "cases.csv", to_csv(outcomes))
    write_text(clisc / "slice_labels.csv", slice_label_table(work))
    # Before a run without any tumour ends: there it is needed most.
    overview(work, outcomes, clisc / "overview.png")
    record = run_record(request, work, found, time.monotonic() - started)
    write_report(work, outcomes, record, clisc / "report.html")
    kept = _kept(outcomes, request)
    for case in sorted(scans.keys() - set(kept)):
        if case not in trusted:
            (labels / f"{case}{FILE_ENDING}").unlink(missing_ok=True)
        (folder / "imagesTr" / f"{case}_0000{FILE_ENDING}").unlink(missing_ok=True)
    for case in kept:
        place_scan(scans[case], folder / "imagesTr" / f"{case}_0000{FILE_ENDING}", request.copy)
    add_to_trusted(clisc, [case for case in kept if case in trusted])
    write_dataset_json(
        folder, n_cases=len(kept), clisc=trainer_key(work.models, settings), overwrite=True
    )
    text = summary(outcomes, work.seconds)
    record = run_record(request, work, found, time.monotonic() - started)
    write_sidecars(outcomes, scans, folder / "labelsTr", record, settings, clisc / "sidecars")
    write_text(clisc / "run.json", json.dumps(record, indent=1) + "\n")
    text += f"\npeak memory {record['peak_memory_gb']:.1f} GB; dataset {folder}\n"
    text += describe_next_commands(request.dataset_id)
    return Conversion(folder, tuple(outcomes), text, work.ledger.failures)


def place_scan(scan: Path, target: Path, copy: bool) -> None:
    """Put a scan into imagesTr: linked or copied, or written anew where nnU-Net needs it."""
    volume = read_volume(scan)
    if background_value(volume.array) == 0 and scan.name.lower().endswith(FILE_ENDING):
        place_image(scan, target, copy=copy)
    else:
        write_image_with_zero_background(volume, target)


def _kept(outcomes: Sequence[CaseOutcome], request: Request) -> list[str]:
    """Cases that go into the dataset."""
    statuses = {"labelled", "trusted"} | ({"empty"} if request.keep_empty else set())
    if not any(outcome.status in ("labelled", "trusted") for outcome in outcomes):
        raise NoTumourError(
            request.scans,
            f"no tumour in any of {len(outcomes)} cases",
            "at least one pseudo-label",
            "see clisc/report.html in the dataset",
        )
    return [outcome.case for outcome in outcomes if outcome.status in statuses]


def _of_earlier_run(scans: Mapping[str, Path], store: Store) -> dict[str, Path]:
    """Scans that an earlier run has begun with; what it set aside is told."""
    known = {path.name for path in store.root.glob("*") if path.is_dir()}
    failed = store.cases_with("failure.json")
    new = sorted(scans.keys() - known)
    print(f"{len(failed)} cases were set aside before: {', '.join(failed[:20])}")
    if new:
        print(f"  left out: {len(new)} cases that no run has begun with (--continue takes them)")
    return {case: path for case, path in scans.items() if case in known}


def _describe(found: InputFolder) -> str:
    lines = [f"{found.layout} folder of {len(found.cases)} cases"]
    lines += [f"  left out: {path} ({reason})" for path, reason in found.ignored]
    return "\n".join(lines)
