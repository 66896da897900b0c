"""From scans to pseudo-labels: the stages of the paper, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from clisc_nnunet.casework import Casework
from clisc_nnunet.outcome import CaseOutcome
from clisc_nnunet.volume import Source

# Where a run may stop, and others go on; between them, classifiers learn from all cases together.
STEPS = ("slices", "classifier", "regions", "enhanced", "labels")
# Steps that are done case by case: several processes or machines may each take a share.
SHARED_STEPS = ("slices", "regions", "labels")


def make_pseudo_labels(
    scans: Mapping[str, Source],
    labels_folder: Path,
    work: Casework,
    trusted: Mapping[str, CaseOutcome] | None = None,
    last: str = "labels",
) -> list[CaseOutcome]:
    """Draw a pseudo-label for every scan that shows a tumour.

    Parameters
    ----------
    scans : mapping of case name to file or DICOM series
    labels_folder : Path
        Receives `<case>.nii.gz` on the grid of each scan.
    work : Casework
        Applies each stage to the cases; holds models, settings and the store, in which every
        stage's result is kept, so that a run that was stopped goes on where it was.
    trusted : mapping of case to CaseOutcome, optional
        Cases whose label is a person's, and stays.
    last : str
        One of `STEPS`: the step to stop after.

    Returns
    -------
    list of CaseOutcome
        One per scan, in order of name; none unless the last step is `labels`.

    Raises
    ------
    NoTumourError
        If CLIP finds tumours in no slice, or in every one: there is nothing to learn from.
    """
    for step in _steps(scans, labels_folder, work, trusted or {}):
        if step == last:
            break
    return work.outcomes


def _steps(
    scans: Mapping[str, Source],
    labels_folder: Path,
    work: Casework,
    trusted: Mapping[str, CaseOutcome],
) -> Iterator[str]:
    """Work, and say which step is done."""
    work.cut_slices(scans)  # 1: axial 8-bit slices
    work.label_slices()  # 2, 3: CLIP, and the vote of neighbours
    yield "slices"

    work.train_classifier("raw")  # 4
    work.choose_cam("raw")
    yield "classifier"
    work.find_regions("raw")  # 5, 6: CAM and region of interest
    yield "regions"

    name = "raw"
    if work.settings.masking.mode != "off":
        name = "enhanced"
        work.train_classifier(name, masked_by="raw")  # 7, 8: adaptive masking
        work.choose_cam(name)
    yield "enhanced"

    if name == "enhanced":
        work.find_regions(name)
    work.segment_regions(name)  # 9, 10: prompts, SAM
    work.draw_labels(name, scans, labels_folder, trusted)  # 11: back onto the scan's grid
    yield "labels"
