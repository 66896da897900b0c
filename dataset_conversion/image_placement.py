"""The end of a conversion: the scans of its cases go into `imagesTr`, whole cases alone.

Hours may have passed since stage 1 read a scan. One that has changed, vanished or become
unreadable since sets its case aside, and the others go on.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from clisc_nnunet.dataset_conversion.nnunet_dataset import CLISC_FOLDER, FILE_ENDING, place_case
from clisc_nnunet.dataset_layout import TRUSTED_FILE, read_names
from clisc_nnunet.errors import ScanError
from clisc_nnunet.inputs.cases import Case
from clisc_nnunet.io.volume import scan_digest
from clisc_nnunet.pipeline.case_result import CaseOutcome
from clisc_nnunet.pipeline.label_step import written_by_us
from clisc_nnunet.pipeline.pseudo_label_pipeline import Casework
from clisc_nnunet.pipeline.result_cache import Fingerprint, ResultCache

STAGE = "images"


def place_cases(
    work: Casework, cases: Sequence[Case], folder: Path, *, copy: bool = False
) -> list[CaseOutcome]:
    """Put the scans of cases into a dataset; the outcomes of the run after that.

    Parameters
    ----------
    work : Casework
        After its last stage. Its ledger learns of the cases that are set aside.
    cases : sequence of Case
        With absolute paths.
    folder : Path
        `Dataset501_CLISC`.
    copy : bool
        See `place_image`.

    Returns
    -------
    list of CaseOutcome
        As `work.outcomes`, but `failed` where the scans could not be placed.
    """
    jobs = {}
    for case in cases:
        digests = [work.digests[source] for source in case.channels]
        job = partial(place_unchanged, case, digests, folder.absolute(), copy=copy)
        jobs[case.name] = Fingerprint(digests), job
    # What is in place already is told file by file.
    work.tracker.run(STAGE, STAGE, work.scan_pool, jobs, lambda *_: "")
    lost = {case: work.tracker.failures[case] for case in jobs if case in work.tracker.failures}
    return [
        CaseOutcome(o.case, "failed", lost[o.case]) if o.case in lost else o for o in work.outcomes
    ]


def place_unchanged(case: Case, digests: Sequence[str], folder: Path, *, copy: bool) -> None:
    """Put the scans of one case into `imagesTr`: all of them, or none.

    Parameters
    ----------
    case : Case
    digests : sequence of str
        Of its channels, when its label was drawn.
    folder : Path
    copy : bool

    Raises
    ------
    ScanError
        If one is another now, cannot be read, or lies on other voxels.
    """
    try:
        _check_unchanged(case, digests)
        place_case(case.channels, case.image, case.name, folder, copy=copy)
    except Exception:
        for number in range(len(case.channels)):
            image = folder / "imagesTr" / f"{case.name}_{number:04d}{FILE_ENDING}"
            image.unlink(missing_ok=True)
        _check_unchanged(case, digests)  # the scan's fault, or that of the dataset's disk?
        raise


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
    gone = ours - set(kept)
    for path in sorted((folder / "imagesTr").glob(f"*{FILE_ENDING}")):
        case, _, number = path.name.removesuffix(FILE_ENDING).rpartition("_")
        if case in gone or (case in ours and number.isdecimal() and int(number) >= channels):
            path.unlink()
            print(f"taken out of imagesTr: {path.name}")
    # Labels that a person has checked and left as they were are no longer ours alone.
    for case in gone - read_names(folder / CLISC_FOLDER / TRUSTED_FILE).keys():
        label = folder / "labelsTr" / f"{case}{FILE_ENDING}"
        if label.is_file() and written_by_us(cache, case, label):
            label.unlink()


def _check_unchanged(case: Case, digests: Sequence[str]) -> None:
    for source, digest in zip(case.channels, digests, strict=True):
        if scan_digest(source) != digest:
            raise ScanError(
                source,
                "another content than when the slices were cut",
                f"the scan that the label of {case.name} was drawn on",
                "go on with --continue once nobody writes to it",
            )
