"""The end of a conversion: place the scans in `imagesTr`, all channels of a case or none.

Hours may have passed since stage 1 read the scans. A case whose scan has since changed, vanished or
become unreadable is skipped; the others continue.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from clisc_nnunet.dataset_conversion.nnunet_dataset import place_case
from clisc_nnunet.dataset_layout import FILE_ENDING, DatasetLayout, read_names
from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.volume import scan_digest
from clisc_nnunet.pipeline.config import CaseInput, RunConfig
from clisc_nnunet.pipeline.label_placement import written_by_us
from clisc_nnunet.pipeline.pseudo_label_pipeline import PseudoLabelPipeline
from clisc_nnunet.pipeline.result_cache import Fingerprint, ResultCache
from clisc_nnunet.pipeline.run_step import CaseStep

STAGE = "images"


def place_cases(
    pipeline: PseudoLabelPipeline, cases: Sequence[str], folder: Path, *, copy: bool = False
) -> dict[str, str]:
    """Place the scans of cases in a dataset.

    Parameters
    ----------
    pipeline : PseudoLabelPipeline
        After its last step.
    folder : Path
        `Dataset501_CLISC`.
    copy : bool
        See `place_image`.

    Returns
    -------
    dict of case to reason
        Cases whose scans could not be placed.
    """
    step = CaseStep(
        STAGE,
        STAGE,
        partial(place_unchanged, folder=folder.absolute(), copy=copy),
        _images_fingerprint,
        workers="scans",
        save=_save_nothing,
        mismatch=lambda *_: "",  # `place_case` checks each file itself
    )
    pipeline.map(step, cases, clock="labels")
    failures = pipeline.tracker.failures
    return {case: failures[case] for case in cases if case in failures}


def place_unchanged(config: RunConfig, case: CaseInput, *, folder: Path, copy: bool) -> None:
    """Place the scans of one case in `imagesTr`: all of them, or none.

    Raises
    ------
    ScanError
        If one has changed since the run started, cannot be read, or has another grid.
    """
    try:
        _check_unchanged(case)
        place_case(case.channels, case.scan, case.name, folder, copy=copy)
    except Exception:
        for number in range(len(case.channels)):
            DatasetLayout(folder).image(case.name, number).unlink(missing_ok=True)
        _check_unchanged(case)  # was it the scan, or the disk of the dataset?
        raise


def _save_nothing(*_: object) -> None:
    """The images themselves are the result."""


def _images_fingerprint(config: RunConfig, case: CaseInput, _: tuple[str, ...]) -> Fingerprint:
    return Fingerprint([case.digests[source] for source in case.channels])


def remove_all_but(kept: Collection[str], channels: int, folder: Path, cache: ResultCache) -> None:
    """Remove images and labels of earlier runs that are not part of the dataset any more.

    Parameters
    ----------
    kept : collection of str
        Cases of the dataset.
    channels : int
        Number of channels; images of further channels are removed.
    folder : Path
        `Dataset501_CLISC`. Other files are not touched, nor are labels that a person has corrected
        or checked.
    cache : ResultCache
        Contains the cases and the hashes of the labels of all runs.
    """
    ours = {path.name for path in cache.root.glob("*") if path.is_dir()}
    gone, dataset = ours - set(kept), DatasetLayout(folder)
    for path in sorted(dataset.images.glob(f"*{FILE_ENDING}")):
        case, _, number = path.name.removesuffix(FILE_ENDING).rpartition("_")
        if case in gone or (case in ours and number.isdecimal() and int(number) >= channels):
            path.unlink()
            print(f"removed from imagesTr: {path.name}")
    # Labels that a person has checked stay, even if unedited.
    for case in gone - read_names(dataset.trusted_txt).keys():
        label = dataset.label(case)
        if label.is_file() and written_by_us(cache, case, label):
            label.unlink()


def _check_unchanged(case: CaseInput) -> None:
    for source in case.channels:
        if scan_digest(source) != case.digests[source]:
            raise ScanError(
                source,
                "other content than when its slices were extracted",
                f"the scan that the label of {case.name} was made from",
                "use --continue once the file no longer changes",
            )
