"""The complete conversion: find scans, load models, run the pipeline, write the dataset."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clisc_nnunet.dataset_conversion.added_phantoms import AddedPhantoms
from clisc_nnunet.dataset_conversion.corrected_labels import add_to_trusted, find_trusted
from clisc_nnunet.dataset_conversion.image_placement import place_cases, remove_all_but
from clisc_nnunet.dataset_conversion.nnunet_dataset import (
    checked_folder,
    dataset_folder,
    describe_next_commands,
    trainer_settings,
    write_dataset_json,
)
from clisc_nnunet.dataset_conversion.options import (
    ConversionOptions,
    check,
    chosen_models,
    chosen_pools,
    chosen_settings,
    read_input,
)
from clisc_nnunet.dataset_conversion.preprocessed_lists import copy_lists
from clisc_nnunet.dataset_conversion.run_record import run_record, trainer_key
from clisc_nnunet.dataset_conversion.slice_label_csv import labels_for, slice_label_table
from clisc_nnunet.dataset_layout import DatasetLayout
from clisc_nnunet.errors import NoTumourError, UserError
from clisc_nnunet.inputs.find_cases import describe
from clisc_nnunet.io.atomic_write import write_text
from clisc_nnunet.io.volume import Source
from clisc_nnunet.models.device import chosen_device
from clisc_nnunet.pipeline.case_result import (
    CaseOutcome,
    failed_outcomes,
    summary,
    to_csv,
    with_failures,
)
from clisc_nnunet.pipeline.config import CaseInput, RunConfig
from clisc_nnunet.pipeline.pseudo_label_pipeline import PseudoLabelPipeline
from clisc_nnunet.pipeline.result_cache import ResultCache
from clisc_nnunet.pipeline.run_results import RunResults
from clisc_nnunet.report.bids_sidecars import write_sidecars
from clisc_nnunet.report.overview_figure import overview
from clisc_nnunet.report.run_report import write_report
from clisc_nnunet.stages.cam_selection import candidates


@dataclass(frozen=True)
class Conversion:
    """Result of a conversion."""

    folder: Path
    outcomes: tuple[CaseOutcome, ...]
    text: str
    """Table and next commands, for the terminal."""
    failures: Mapping[str, str]
    """Cases that were skipped, with the reason."""
    phantoms: int = 0
    """Number of phantoms in the dataset."""

    @property
    def failed(self) -> int:
        """Number of cases that failed."""
        return len(self.failures)


def convert(
    options: ConversionOptions, outcomes_so_far: list[CaseOutcome] | None = None
) -> Conversion:
    """Turn a folder of unlabelled scans into an nnU-Net raw dataset.

    Parameters
    ----------
    outcomes_so_far : list, optional
        Filled with the outcome of each case, also if the conversion fails.

    Raises
    ------
    UserError
        For anything the user can fix; an existing dataset is left unchanged.
    """
    started = time.monotonic()
    settings = chosen_settings(options)
    check(options)
    channels, found = read_input(options)
    print(describe(found, options.label_channel), flush=True)
    names = [case.name for case in found.cases] + [name for name, _ in found.faults]
    given = labels_for(options.slice_labels, names) if options.slice_labels else None
    device = chosen_device(options.device)
    models = chosen_models(options)
    # Missing weights and unknown layers are reported before anything is written.
    candidates(settings, models.load(str(device)).backbone.layers)
    place = (options.dataset_id, options.name, options.root)
    folder = checked_folder(*place, resume=options.resumes)
    dataset, absolute = DatasetLayout(folder), DatasetLayout(folder.absolute())
    phantoms = AddedPhantoms.requested(absolute, options.add_phantoms)
    phantoms.check(channels, names)
    dataset_folder(*place, resume=options.resumes)
    cache = ResultCache(absolute.stages)
    cases = {case.name: case.absolute() for case in found.cases}
    scans = {name: case.image for name, case in cases.items()}
    if options.retry_failed:
        scans = _of_earlier_run(scans, cache)
    trainer_settings(folder)  # they are copied later: unreadable ones are reported now
    scans = dict(sorted(scans.items())[options.part :: options.parts])
    trusted, faults = find_trusted(folder, scans, cache)
    # Their cases stay in the run, or the labels of all others would change.
    unusable = {o.case: o.reason for o in trusted.values() if o.status == "failed"}
    masks = options.brain_masks and options.brain_masks.absolute()
    inputs = [
        CaseInput(
            name,
            scan,
            cases[name].channels,
            masks and masks / f"{name}.nii.gz",
            given.get(name) if given is not None else None,
        )
        for name, scan in scans.items()
        if name not in faults
    ]
    write_text(dataset.settings_json, settings.to_json() + "\n")
    cache.remove_leftovers()

    scan_pool, model_pool = chosen_pools(options, device)
    with scan_pool, model_pool:
        config = RunConfig(
            settings, models, str(device), cache, absolute, empty_labels=options.keep_empty
        )
        pipeline = PseudoLabelPipeline(
            config, scan_pool, model_pool, partial=options.parts > 1, retry=options.retry_failed
        )
        for name, fault in (*found.faults, *faults.items()):
            pipeline.tracker.refuse(name, str(fault))
        try:
            results = pipeline.run(inputs, trusted, options.last)
        except UserError:
            if outcomes_so_far is not None:
                outcomes_so_far[:] = failed_outcomes(pipeline.tracker.failures)
            raise
        all_scans = [case.image for case in found.cases]
        phantoms.make(all_scans, scan_pool, options.part, options.parts)
        if options.only_stage:
            part = f"part {options.part} of {options.parts}"
            text = f"{part}: {options.last} done for {len(inputs)} cases"
            return Conversion(folder, results.outcomes, text, {**results.failures, **unusable})

        def write(outcomes: Sequence[CaseOutcome]) -> None:
            if outcomes_so_far is not None:
                outcomes_so_far[:] = outcomes
            seconds = time.monotonic() - started
            record = run_record(options, results, found, seconds, phantoms.records())
            _write_tables(results, outcomes, record, dataset, options.keep_empty, phantoms)

        # Also for a run without any tumour, where the report is needed most.
        write(results.outcomes)
        kept = _kept(results.outcomes, options)
        lost = place_cases(pipeline, kept, folder, copy=options.copy)
        results = pipeline.results
    outcomes = with_failures(results.outcomes, lost)
    if lost:
        write(outcomes)
        kept = [case for case in kept if case not in lost]
    remove_all_but(kept, len(channels), folder, cache)
    phantoms.place()
    if not _with_tumour(outcomes):
        raise UserError(
            dataset.images,
            "no case with a tumour whose scans could be placed",
            "at least one",
            "see clisc/cases.csv for the reasons, then use --continue",
        )
    add_to_trusted(dataset, [o.case for o in outcomes if o.status == "trusted" and o.case in kept])
    names = [channel.name for channel in channels]
    write_dataset_json(
        folder,
        n_cases=len(kept) + phantoms.count,
        clisc=trainer_key(
            config.models, settings, names.index(options.label_channel), phantoms.names
        ),
        channel_names=[channel.displayed for channel in channels],
        overwrite=True,
    )
    text = summary(outcomes, dict(results.seconds))
    seconds = time.monotonic() - started
    record = run_record(options, results, found, seconds, phantoms.records())
    write_sidecars(
        outcomes, scans, results.digests, dataset.labels, record, settings, dataset.sidecars
    )
    write_text(dataset.run_json, json.dumps(record, indent=1) + "\n")
    copy_lists(dataset)
    text += phantoms.summary()
    text += f"\npeak memory {record['peak_memory_gb']:.1f} GB; dataset {folder}\n"
    text += describe_next_commands(options.dataset_id)
    failures = {**results.failures, **unusable}
    return Conversion(folder, tuple(outcomes), text, failures, phantoms.count)


def _write_tables(
    results: RunResults,
    outcomes: Sequence[CaseOutcome],
    record: Mapping[str, Any],
    dataset: DatasetLayout,
    keep_empty: bool,
    phantoms: AddedPhantoms,
) -> None:
    """Write the tables, the overview and the report."""
    added = phantoms.outcomes()
    write_text(dataset.cases_csv, to_csv(outcomes, added))
    write_text(dataset.slice_labels_csv, slice_label_table(results))
    overview(results, outcomes, dataset.overview_png)
    write_report(results, outcomes, record, dataset, keep_empty=keep_empty, phantoms=added)


def _kept(outcomes: Sequence[CaseOutcome], options: ConversionOptions) -> list[str]:
    """Cases that belong to the dataset."""
    statuses = {"labelled", "trusted"} | ({"empty"} if options.keep_empty else set())
    if not _with_tumour(outcomes):
        raise NoTumourError(
            options.scans,
            f"no tumour in any of {len(outcomes)} cases",
            "at least one pseudo-label",
            "see clisc/report.html in the dataset",
        )
    return [outcome.case for outcome in outcomes if outcome.status in statuses]


def _with_tumour(outcomes: Sequence[CaseOutcome]) -> bool:
    return any(outcome.status in ("labelled", "trusted") for outcome in outcomes)


def _of_earlier_run(scans: Mapping[str, Source], cache: ResultCache) -> dict[str, Source]:
    """Scans that an earlier run has started on; prints which of them it skipped."""
    known = {path.name for path in cache.root.glob("*") if path.is_dir()}
    failed = cache.cases_with("failure.json")
    new = sorted(scans.keys() - known)
    print(f"{len(failed)} cases were skipped before: {', '.join(failed[:20])}")
    if new:
        print(f"  ignored: {len(new)} new cases (--continue includes them)")
    return {case: path for case, path in scans.items() if case in known}
