"""Output of `--dry-run`: cases, finished stages, required disk space. Writes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

from clisc_nnunet.dataset_conversion.added_phantoms import AddedPhantoms
from clisc_nnunet.dataset_conversion.nnunet_dataset import checked_folder
from clisc_nnunet.dataset_conversion.options import (
    ConversionOptions,
    check,
    chosen_settings,
    read_input,
)
from clisc_nnunet.dataset_layout import FILE_ENDING, DatasetLayout
from clisc_nnunet.errors import one_line
from clisc_nnunet.inputs.find_cases import InputFolder, describe
from clisc_nnunet.io.dicom_series import Series
from clisc_nnunet.pipeline.case_tracker import STAGES
from clisc_nnunet.pipeline.result_cache import ResultCache

# Size of the cached results, label, CAM and region of a case, measured with 1 mm scans.
MB_PER_CASE = 3.0


def plan(options: ConversionOptions) -> str:
    """Description of what a call would do.

    Raises
    ------
    UserError
        For invalid options and names, as the call itself would; no scan is opened.
    """
    check(options)
    chosen_settings(options)
    channels, found = read_input(options)
    folder = checked_folder(options.dataset_id, options.name, options.root, resume=options.resumes)
    phantoms = AddedPhantoms.requested(DatasetLayout(folder), options.add_phantoms)
    phantoms.check(channels, [case.name for case in found.cases])
    lines = [describe(found, options.label_channel)]
    lines += [f"  {case.name}: {one_line(case.image)}" for case in found.cases]
    lines += _done(folder, found)
    if phantoms.count or phantoms.existing:
        lines.append(f"phantoms: {phantoms.count} (now {len(phantoms.existing)})")
    lines.append(_disk(folder, found, options))
    lines.append("nothing was written (--dry-run)")
    return "\n".join(lines)


def _done(folder: Path, found: InputFolder) -> list[str]:
    """Finished stages and skipped cases of an earlier run."""
    cache = ResultCache(DatasetLayout(folder).stages)
    if not cache.root.is_dir():
        return [f"dataset {folder}: new"]
    ours = {case.name for case in found.cases}
    lines = [
        f"dataset {folder}: exists; reused if input, settings, weights and version still match:"
    ]
    one_channel = not any(case.others for case in found.cases)
    for stage in STAGES:
        # Only failures of placing images are recorded.
        if stage == "images" or (stage == "channels" and one_channel):
            continue
        there = ours & set(cache.cases_with(f"{stage}{'.json' if stage == 'label' else '.npz'}"))
        lines.append(f"  {stage}: {len(there)} of {len(ours)} cases")
    for case in cache.cases_with("failure.json"):
        lines.append(f"  skipped: {cache.read_record(case, 'failure').get('reason', case)}")
    return lines


def _disk(folder: Path, found: InputFolder, options: ConversionOptions) -> str:
    """Required and free disk space."""
    scans = [source for case in found.cases for source in case.channels]
    copied = [s for s in scans if options.copy or not s.name.lower().endswith(FILE_ENDING)]
    files = [path for s in copied for path in (s.files if isinstance(s, Series) else (s,))]
    copies = sum(path.stat().st_size for path in files if path.is_file()) / 1e6
    total = MB_PER_CASE * len(found.cases) + copies
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free / 1e6
    return (
        f"disk: about {total:,.0f} MB ({MB_PER_CASE:g} MB per case, and {len(copied)} "
        f"scans copied); {free:,.0f} MB free"
    )
