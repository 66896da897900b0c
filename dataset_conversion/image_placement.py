"""The end of a conversion: the scans of its cases go into `imagesTr`, whole cases alone.

Hours may have passed since stage 1 read a scan. One that has changed, vanished or become
unreadable since sets its case aside, and the others go on.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from clisc_nnunet.dataset_conversion.nnunet_dataset import place_case
from clisc_nnunet.dataset_layout import FILE_ENDING, DatasetLayout, read_names
from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.volume import scan_digest
from clisc_nnunet.pipeline.case_steps import CaseStep
from clisc_nnunet.pipeline.config import CaseInput, RunConfig
from clisc_nnunet.pipeline.label_step import written_by_us
from clisc_nnunet.pipeline.pseudo_label_pipeline import PseudoLabelPipeline
from clisc_nnunet.pipeline.result_cache import Fingerprint, ResultCache

STAGE = "images"


def place_cases(
    pipeline: PseudoLabelPipeline, cases: Sequence[str], folder: Path, *, copy: bool = False
) -> dict[str, str]:
    """Put the scans of cases into a dataset.

    Parameters
    ----------
    pipeline : PseudoLabelPipeline
        After its last step.
    cases : sequence of str
    folder : Path
        `Dataset501_CLISC`.
    copy : bool
        See `place_image`.

    Returns
    -------
    dict of case to reason
        Cases whose scans could not be put there.
    """
    step = CaseStep(
        STAGE,
        STAGE,
        partial(place_unchanged, folder=folder.absolute(), copy=copy),
        _images_fingerprint,
        workers="scans",
        save=_save_nothing,
        mismatch=lambda *_: "",  # file by file, `place_case` sees what is in place already
    )
    pipeline.map(step, cases, clock="labels")
    failures = pipeline.tracker.failures
    return {case: failures[case] for case in cases if case in failures}


def place_unchanged(config: RunConfig, case: CaseInput, *, folder: Path, copy: bool) -> None:
    """Put the scans of one case into `imagesTr`: all of them, or none.

    Raises
    ------
    ScanError
        If one has changed since the run began, cannot be read, or lies on other voxels.
    """
    try:
        _check_unchanged(case)
        place_case(case.channels, case.scan, case.name, folder, copy=copy)
    except Exception:
        for number in range(len(case.channels)):
            DatasetLayout(folder).image(case.name, number).unlink(missing_ok=True)
        _check_unchanged(case)  # the scan's fault, or that of the dataset's disk?
        raise


def _save_nothing(*_: object) -> None:
    """The images themselves are the result."""


def _images_fingerprint(config: RunConfig, case: CaseInput, _: tuple[str, ...]) -> Fingerprint:
    return Fingerprint([case.digests[source] for source in case.channels])


def take_out_all_but(
    kept: Collection[str], channels: int, folder: Path, cache: ResultCache
) -> None:
    """Take out of a dataset what this or an earlier run has put there and is no part of it now.

    Parameters
    ----------
    kept : collection of str
        Cases of the dataset.
    channels : int
        Number of nnU-Net's channels; further ones are taken out of these cases, too.
    folder : Path
        `Dataset501_CLISC`. What no run has put there stays, and so does a label that a person
        has corrected or checked.
    store : Store
        Knows the cases and the labels of all runs.
    """
    ours = {path.name for path in cache.root.glob("*") if path.is_dir()}
    gone, dataset = ours - set(kept), DatasetLayout(folder)
    for path in sorted(dataset.images.glob(f"*{FILE_ENDING}")):
        case, _, number = path.name.removesuffix(FILE_ENDING).rpartition("_")
        if case in gone or (case in ours and number.isdecimal() and int(number) >= channels):
            path.unlink()
            print(f"taken out of imagesTr: {path.name}")
    # Labels that a person has checked and left as they were are no longer ours alone.
    for case in gone - read_names(dataset.trusted_txt).keys():
        label = dataset.label(case)
        if label.is_file() and written_by_us(cache, case, label):
            label.unlink()


def _check_unchanged(case: CaseInput) -> None:
    for source in case.channels:
        if scan_digest(source) != case.digests[source]:
            raise ScanError(
                source,
                "another content than when the slices were cut",
                f"the scan that the label of {case.name} was drawn on",
                "go on with --continue once nobody writes to it",
            )
